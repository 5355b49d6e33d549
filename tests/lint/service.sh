#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# conf/lunette.service: systemd understands every line, and finds little that the server may do
# besides its work. The bound is what was reached (1.6 of 10, less is better), with some room for a
# newer systemd that asks for more.

unit=$LUNETTE_SOURCE/conf/lunette.service
command -v systemd-analyze >/dev/null || {
    echo "SKIP: there is no systemd-analyze"
    exit 77
}
out=$(systemd-analyze security --offline=true --threshold=20 --no-pager "$unit" 2>&1)
status=$?
printf '%s\n' "$out" | grep -v '✓'
if [[ $out == *"lunette.service:"[0-9]* ]]; then
    echo "FAILED: systemd does not understand a line"
    exit 1
fi
exit $status
