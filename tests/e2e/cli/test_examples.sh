#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Every example in help and the man page does what it says: each is run where the objects that it names are
# as they should be. Paths become those of this test, and sizes smaller: G is M, T is G.

. "$(dirname "$0")/lib.sh"
readme=$(realpath "$(dirname "$0")/../../../README.md")

command -v qemu-img >/dev/null || skip "no qemu-img"
mkdir "$work/srv" "$work/here" "$work/quiesce" "$work/refresh"
pool=$work/srv/pool.lunette
host=iqn.1993-08.org.debian:01
cat >"$work/lunette.conf" <<CONF
[pool]
path = $pool
[management]
socket = $LUNETTE_SOCKET
[nbd]
socket = $work/nbd.sock
[iscsi]
portal = 127.0.0.1:0
[server]
plugin = $plugin
key_file = $work/served.key
pid_file = $work/lunette.pid
[quiesce]
folder = $work/quiesce
[refresh]
folder = $work/refresh
CONF
printf '#!/bin/sh\nexit 0\n' | tee "$work/quiesce/postgres" >"$work/refresh/mask-customers"
chmod 755 "$work/quiesce" "$work/quiesce/postgres" "$work/refresh" "$work/refresh/mask-customers"
cd "$work/here" || exit 1
truncate -s 16M "$work/disk.raw"
qemu-img create -q -f qcow2 debian.qcow2 16M
echo "a secret of web" >"$work/web.secret"

up()
{
    "$lunette" serve --conf "$work/lunette.conf" --foreground >/dev/null 2>>"$work/log" &
    server=$!
    "$lunette" server status --wait 20s >/dev/null || {
        fail "no server: $(tail -n 5 "$work/log")"
        finish
    }
}

down()
{
    [[ -z $server ]] || server_kill 2>/dev/null
    rm -f "$work/nbd.sock"
}

# make COMMAND: a line of the world that examples live in.
make()
{
    "$lunette" "$@" </dev/null >/dev/null || fail "cannot prepare: lunette $*"
}

# The world, once; then a copy of it for who needs a fresh one.
for key in served old; do make key create "$work/$key.key"; done
make pool create "$pool" 512M
up
for lun in golden golden-v2 vm1 vm2 db-data db-log cdrom prod dev1 dev2 test training; do make lun create $lun 20M; done
make snapshot create golden@monday
make snapshot create vm1@monday
make volume create db 200M
make lun create db/data 20M
make qtree create db/team-a
make lun create db/team-a/vm1 20M
qemu-io -f raw -c 'write -P 1 0 4M' "nbd+unix:///db/data?socket=$work/nbd.sock" >/dev/null || fail "qemu-io"
make snapshot create db@nightly
make volume clone create db test-db
make volume create scratch
make volume create logs
make igroup create web $host:web1 $host:web2
make lun map vm1 --igroup web
make iscsi chap set igroup:web --user web --secret-file "$work/web.secret"
make qos class create silver --max-iops 2000
make qos class create gold --max-iops 2000
make snapshot policy create standard --schedule daily:7
make snapshot policy create db --schedule daily:7
make quota rule create db --target team-a --disk-limit 500M
make server stop
wait "$server"
server=
cp --sparse=always "$pool" "$work/world"

fresh()
{
    down
    cp --sparse=always "$work/world" "$pool"
    up
    dirty=
}

# What must be otherwise for the examples of command $1.
adapt()
{
    case $1 in
    "lun create") make lun delete vm1 db-log --with-snapshots ;;
    "lun clone") make lun delete vm1 vm2 --with-snapshots ;;
    "lun delete")
        make snapshot delete vm1@monday
        make lun create ci-1 1M
        ;;
    "lun import" | "lun modify" | "volume create")
        make volume delete test-db --with-contents --delete-backing-snapshot
        make volume delete db --with-contents
        make volume delete scratch
        make lun delete golden --with-snapshots
        [[ $1 != "lun modify" ]] || for lun in golden db; do make lun create $lun 20M; done
        ;;
    "snapshot create")
        make snapshot delete vm1@monday
        make snapshot delete db@nightly
        ;;
    "snapshot policy create")
        make snapshot policy delete standard
        make snapshot policy delete db
        ;;
    "refresh modify" | "refresh run" | "refresh delete") make refresh create dev1 dev2 --from prod --schedule daily ;;
    "volume clone create") make volume delete test-db --with-contents ;;
    "volume clone split pause" | "volume clone split stop")
        make volume clone split start test-db --physical --rate 64K
        ;;
    "qtree create" | "qtree delete")
        make quota rule delete db --target team-a
        make lun delete db/team-a/vm1 --with-snapshots
        make snapshot delete db@nightly
        [[ $1 != "qtree create" ]] || make qtree delete db/team-a
        ;;
    "quota rule create") make quota rule delete db --target team-a ;;
    "igroup create") make igroup delete web --force ;;
    "igroup remove") make igroup add web $host:web3 ;;
    "lun map" | "igroup delete") make lun unmap vm1 --igroup web ;;
    "qos class create")
        make qos class delete silver
        make qos class delete gold
        ;;
    "pool create") rm "$pool" ;;
    esac
}

# How the examples of command $1 end where nothing is there that they could be done to.
outcome()
{
    case $1 in
    "lun reservation clear") echo "has no registration or reservation" ;;
    "iscsi session terminate") echo "session; 'lunette iscsi session show' lists" ;;
    "job cancel") echo "there is no job 12" ;;
    esac
}

# The example as it is run here.
localize()
{
    sed -E -e "s|/srv/|$work/srv/|g; s|/dev/vg0/pool|$work/other 64M|; s|/etc/lunette/|$work/|g; s|/root/|$work/|g" \
        -e "s|/var/lib/prometheus/node-exporter/|$work/|; s|iscsi://10.0.0.5/[^ ]*|$work/disk.raw|" \
        -e "s|nbd://backup.example.com/vm1|nbd+unix:///vm2?socket=$work/nbd.sock|" \
        -e 's/(pool grow) \+50G/\1 +64M/; s/-step 50G/-step 128M/; s/([0-9])G\b/\1M/g; s/([0-9])T\b/\1G/g; s/10s/100ms/' \
        -e 's/ --foreground//; s/ *[|].*//; s/ >[^ ]*$//' -e "s|^(lunette serve)( .*)|\1 --plugin $plugin\2|"
}

# run_example COMMAND LINE
run_example()
{
    local line wanted words said status
    wanted=$(outcome "$1")
    line=$(localize <<<"$2")
    [[ -z $dirty ]] || fresh
    [[ $2 == *" show"* || $2 == *--dry-run* || $2 == *" explain "* ]] || dirty=1
    adapt "$1"
    [[ -z $(declare -f adapt | grep -F "\"$1\"") ]] || dirty=1
    if [[ $2 == *"/srv/pool.lunette"* || $1 == serve ]]; then
        down
        dirty=1
    fi
    checks=$((checks + 1))
    eval "words=(${line#lunette })"
    said=$(timeout "$([[ $2 == *--follow* ]] && echo 0.3 || echo 60)" "$lunette" "${words[@]}" \
        <<<"a secret of standard input" 2>&1)
    status=$?
    if [[ $2 == *--follow* ]]; then
        same "$status" 124
    elif [[ -n $wanted ]]; then
        [[ $status == 1 && $said == *"$wanted"* ]] || fail "$2 (as $line): status $status: $said"
    else
        [[ $status == 0 ]] || fail "$2 (as $line): status $status: $said"
    fi
    [[ $1 != serve ]] || "$lunette" server stop --yes >/dev/null || fail "$2: nothing is served"
}

"$lunette" help --json >"$work/help"
count=$("$probe" json count <"$work/help")
dirty=1
for ((i = 0; i < count; i++)); do
    command=$("$probe" json "commands.$i.command" <"$work/help")
    examples=$("$probe" json "commands.$i.examples.#" <"$work/help")
    [[ $examples -gt 0 ]] || fail "$command has no example"
    for ((j = 0; j < examples; j++)); do
        run_example "$command" "$("$probe" json "commands.$i.examples.$j" <"$work/help")"
    done
done
down

# ---- the commands of README.md, in its order, in an empty folder ----
# As they are typed: what one needs, an earlier one has made.
mkdir "$work/readme"
cd "$work/readme" || exit 1
qemu-img create -q -f qcow2 debian.qcow2 16M
rm -f "$pool"
lunette()
{
    timeout "$([[ $1 == top ]] && echo 1 || echo 60)" "$lunette" "$@" </dev/null >"$work/said" 2>&1
}
count=0
while IFS= read -r line; do
    line=$(sed -E 's/ +#.*//; s/127.0.0.1:3260/127.0.0.1:0/' <<<"$line")
    while IFS= read -r command; do
        checks=$((checks + 1))
        count=$((count + 1))
        eval "$(localize <<<"$command")" || [[ $? == 124 && $command == "lunette top" ]] || fail "README: $command: $(<"$work/said")"
    done < <(sed 's/; */\n/g' <<<"$line")
done < <(sed -n '/^## Commands/,/^`lunette help`/ s/^    \(lunette .*\)/\1/p' "$readme")
[[ $count -ge 25 ]] || fail "README has $count commands"
unset -f lunette
finish
