# SPDX-License-Identifier: BSD-3-Clause
#
# The transfer of images: a library of its own, so that its tests link it without the CLI.

pkg_check_modules(NBD REQUIRED IMPORTED_TARGET libnbd)
pkg_check_modules(ISCSI REQUIRED IMPORTED_TARGET libiscsi)

add_library(transferredact STATIC transfer_redact.c)
target_link_libraries(transferredact PUBLIC lunbase)

add_library(transfer STATIC
    transfer.c
    transfer_child.c
    transfer_chunk.c
    transfer_endpoint.c
    transfer_file.c
    transfer_image.c
    transfer_iscsi.c
    transfer_nbd.c
    transfer_pipe.c
    transfer_state.c
)
target_link_libraries(transfer PUBLIC lunbase transferredact
    PRIVATE mgmtproto PkgConfig::NBD PkgConfig::ISCSI PkgConfig::JANSSON)
