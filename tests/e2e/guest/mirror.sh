# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# Where Debian's packages come from: where apt on this host gets its own. Sourced.

# mirror: the address from which apt gets this host's release of Debian, empty if its lists are absent.
mirror()
{
    # shellcheck disable=SC2016 # apt's variables
    apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(CODENAME) $(COMPONENT)' \
        'Identifier: Packages' |
        awk -v release="$release" \
            '$2 == "Debian" && $3 == release && $4 == "main" && !found++ { print $1 }'
}

# Lets debootstrap use apt's proxy, if it has one.
use_proxy()
{
    local http='' https=''
    eval "$(apt-config shell http Acquire::http::Proxy https Acquire::https::Proxy)"
    [[ -z $http || $http == DIRECT ]] || export http_proxy=$http
    [[ -z $https || $https == DIRECT ]] || export https_proxy=$https
}
