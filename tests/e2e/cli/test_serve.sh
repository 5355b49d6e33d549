#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# lunette serve in the background: ready when it returns, by options and by conf file, beside live and
# dead servers; and stopped.

. "$(dirname "$0")/lib.sh"

serve=(serve --plugin "$plugin")
background=
end_background()
{
    [[ -z $background ]] || kill -9 "$background" 2>/dev/null
    cleanup
}
trap end_background EXIT

# Until the process is gone, with all its threads; whoever adopted it may be slow to bury it.
wait_for_end()
{
    local state tasks
    while state=$(awk '/^State:/ { print $2 }' "/proc/$1/status" 2>/dev/null) && [[ -n $state ]]; do
        tasks=("/proc/$1/task"/*)
        [[ $state != Z || ${#tasks[@]} -gt 1 ]] || break
    done
}

ok pool create "$pool" 256M
ok "${serve[@]}" --pool "$pool"
says "Management: $LUNETTE_SOCKET"
background=$(<"$work/lunette.pid")
json pid "$background" server status
json nbd_uri "nbd+unix:///?socket=$work/nbd.sock" server status
ok lun create a 64M
uri=$("$lunette" lun attach a --json | "$probe" json uri)
same "$(nbdinfo --size "$uri" 2>&1)" 67108864

refused 1 "process $background, answers" "${serve[@]}" --pool "$pool"
# Another socket, but the same pool or the same NBD socket.
LUNETTE_SOCKET=$work/other.sock refused 1 "another server listens on $work/nbd.sock" \
    "${serve[@]}" --pool "$pool"
mkdir "$work/other"
if [[ $engine == lun ]]; then
    checks=$((checks + 1))
    run "${serve[@]}" --pool "$pool" --socket "$work/other/mgmt.sock"
    [[ $status == 1 && $err == *"$background"* ]] || fail "a second server of the pool: $status $err"
fi

# Killed: what it left behind does not keep the next from starting.
kill -9 "$background"
wait_for_end "$background"
refused 3 "the server that made it is gone" lun show
# It is said what started it, with a path that holds anywhere.
started="try: lunette serve --pool $pool --plugin $plugin"
[[ $err == *"$started" ]] || fail "not what started it: $err"
LUNETTE_SOCKET=/nonexistent/x refused 3 "$started --socket $LUNETTE_SOCKET" lun show --socket "$LUNETTE_SOCKET"
json pid '*' "${serve[@]}" --pool "$pool"
killed=$background
background=$(<"$work/lunette.pid")
[[ $killed != "$background" ]] || fail "the pid file is old"
ok server stop
says "process $background, has stopped"
wait_for_end "$background"
background=
[[ ! -e $work/lunette.pid ]] || fail "the pid file stays"
refused 3 "there is no such socket" lun show

# A note that does not fit takes the old one along; a file of somebody else's with that name stays.
long=()
for ((i = 0; i < 80; i++)); do long+=(-Dnbdkit.backend.controlpath=0); done
[[ -e $work/serve.last ]] || fail "no note of how it was started"
ok "${serve[@]}" --pool "$pool" -- "${long[@]}"
background=$(<"$work/lunette.pid")
[[ ! -e $work/serve.last ]] || fail "the note is that of another start: $(<"$work/serve.last")"
ok server stop
wait_for_end "$background"
mkdir "$work/kept"
echo "lunette is mine" >"$work/kept/serve.last"
ok "${serve[@]}" --pool "$pool" --socket "$work/kept/mgmt.sock"
background=$(<"$work/kept/lunette.pid")
same "$(<"$work/kept/serve.last")" "lunette is mine"
ok server stop --socket "$work/kept/mgmt.sock"
wait_for_end "$background"
background=

# By conf file, over TCP on a port that is free now; options override it.
port=$("$(dirname "$0")/../../lib/free_port.py")
cat >"$work/lunette.conf" <<END
[pool]
path = $work/none
cache = 16M
checkpoint_interval = 1s
[nbd]
listen = 127.0.0.1:$port
threads = 4
[management]
socket = $work/conf.sock
mode = 0600
[server]
pid_file = $work/conf.pid
plugin = $plugin
END
checks=$((checks + 1))
refused 1 "there is no pool $work/none" serve --conf "$work/lunette.conf"
if [[ $engine == lun ]]; then
    head -c 100000 /dev/zero >"$work/nothing"
    run serve --conf "$work/lunette.conf" --pool "$work/nothing"
    [[ $status == 1 && $err == *"$work/nothing"*"nbdkit refused, as it says above"* ]] ||
        fail "a file that is no pool: $status $err"
    [[ $err != *"is not a Lunette pool"*"is not a Lunette pool"* ]] || fail "says it twice: $err"
fi
ok serve --conf "$work/lunette.conf" --pool "$pool"
export LUNETTE_SOCKET=$work/conf.sock
background=$(<"$work/conf.pid")
json nbd_uri "nbd://127.0.0.1:$port/" server status
json conf "$work/lunette.conf" server status
same "$(stat -c %a "$LUNETTE_SOCKET")" 600
[[ $engine != lun ]] || json luns.0.name a lun show
ok lun create tcp 64M
same "$(nbdinfo --size "nbd://127.0.0.1:$port/tcp" 2>&1)" 67108864
ok lun attach tcp
says "nbd-client '127.0.0.1' $port /dev/nbd0 -name tcp"
ok server stop
wait_for_end "$background"
background=

# A server that cannot make its management socket ends, and serve says so.
mkdir -p "$work/folder.sock/full"
run "${serve[@]}" --pool "$pool" --socket "$work/folder.sock" --pid-file "$work/nowhere.pid" \
    --nbd-socket "$work/nowhere-nbd.sock"
same "$status" 1
checks=$((checks + 1))
[[ $err == *"$work/folder.sock exists and is not a socket"*"ended while it started"* ]] || fail "no reason in: $err"
# One whose sockets have no folder does not start.
refused 1 "its sockets belong into $work/nowhere" "${serve[@]}" --pool "$pool" \
    --socket "$work/nowhere/mgmt.sock" --pid-file "$work/nowhere.pid" \
    --nbd-socket "$work/nowhere-nbd.sock"

# In the foreground the socket's permissions come when it is there.
"$lunette" "${serve[@]}" --pool "$pool" --nbd-socket "$work/mode.sock" --nbd-mode 0620 --foreground \
    --socket "$work/mode-mgmt.sock" 2>/dev/null &
background=$!
checks=$((checks + 1))
until [[ -S $work/mode.sock && $(stat -c %a "$work/mode.sock") == 620 ]]; do
    kill -0 $background || { fail "no server"; break; }
done
ok server stop --socket "$work/mode-mgmt.sock"
wait "$background"
background=

# nbdkit's own options and filters.
ok "${serve[@]}" --pool "$pool" --socket "$work/filter.sock" --nbd-mode 0660 --read-only -- --filter=readahead
export LUNETTE_SOCKET=$work/filter.sock
background=$(<"$work/lunette.pid")
same "$(stat -c %a "$work/nbd.sock")" 660
ok lun create filtered 64M
checks=$((checks + 1))
info=$(nbdinfo "$("$lunette" lun attach filtered --json | "$probe" json uri)" 2>&1)
[[ $info == *"is_read_only: true"* ]] || fail "--read-only: $info"
ok server stop
wait_for_end "$background"
background=

# TLS: what is shown has it, and this program's own transfers use it.
printf '# keys\nalice:%s\n' "$(od -An -tx1 -N32 /dev/urandom | tr -d ' \n')" >"$work/keys.psk"
tls=("${serve[@]}" --pool "$pool" --socket "$work/tls.sock" --nbd-tls require)
refused 2 "not both" "${tls[@]}" --nbd-tls-psk "$work/keys.psk" --nbd-tls-certificates "$work"
refused 1 'no "user:key" line' "${tls[@]}" --nbd-tls-psk /dev/null
refused 2 "none of: off on require" "${serve[@]}" --pool "$pool" --nbd-tls perhaps
refused 2 "NBD needs a port" "${serve[@]}" --pool "$pool" --nbd-listen 127.0.0.1:0
ok "${tls[@]}" --nbd-tls-psk "$work/keys.psk"
export LUNETTE_SOCKET=$work/tls.sock
background=$(<"$work/lunette.pid")
json nbd_uri "nbds+unix://alice@/?socket=$work/nbd.sock&tls-psk-file=$work/keys.psk" server status
head -c 3000000 /dev/urandom >"$work/in"
ok lun import "$work/in" secret --verify
ok lun export secret "$work/out"
checks=$((checks + 2))
cmp -n 3000000 "$work/in" "$work/out" || fail "what went over TLS differs"
nbdinfo "nbd+unix:///secret?socket=$work/nbd.sock" >"$work/said" 2>&1 && fail "it is served without TLS"
ok lun attach secret
says "-object tls-creds-psk,id=tls,endpoint=client,username=alice,dir='$work'"
says ",tls-creds=tls"
ok server stop
wait_for_end "$background"
background=

# Events end with the server, and the help says so.
"$lunette" event show --help >"$work/said" || fail "no help for event show"
grep -q "in memory, and they end with it" <<<"$(tr -s '\n ' ' ' <"$work/said")" || fail "help does not say what lasts: $(<"$work/said")"

# iSCSI on a port of the kernel's choice, told by the status, where an initiator can log in.
ok "${serve[@]}" --pool "$pool" --socket "$work/iscsi.sock" --iscsi 127.0.0.1:0
printed=$(sed -n 's/^iSCSI: *//p' <<<"$out")
export LUNETTE_SOCKET=$work/iscsi.sock
background=$(<"$work/lunette.pid")
ok server status --json
portal=$("$probe" json iscsi_portals.0 <<<"$out")
target=$("$probe" json iscsi_target <<<"$out")
checks=$((checks + 1))
[[ $portal =~ ^127\.0\.0\.1:[1-9][0-9]+$ && $target == iqn.* ]] || fail "portal $portal, target $target"
same "$printed" "$portal"
if command -v iscsi-ls >/dev/null; then
    checks=$((checks + 1))
    # It sees nothing: no LUN is mapped to it.
    said=$(timeout 60 iscsi-ls "iscsi://$portal" 2>&1) || fail "discovery at $portal: $said"
    same "$said" ""
fi
refused 1 "" "${serve[@]}" --pool "$pool" --socket "$work/iscsi2.sock" --iscsi nowhere:1
# What it finds out once it is in the background is said all the same: somebody has the port.
ok pool create "$work/pool2" 64M
second=("${serve[@]}" --pool "$work/pool2" --socket "$work/iscsi2.sock" --nbd-socket "$work/nbd2.sock" --pid-file "$work/2.pid")
run "${second[@]}" --iscsi "$portal"
same "$status" 1
checks=$((checks + 1))
[[ $err == "nbdkit: error: cannot start serving the pool $work/pool2: cannot listen on $portal: Address already in use"*$'\nlunette: cannot start the server: '*"for the reason above"* ]] ||
    fail "no reason in: $err"
run "${second[@]}" --iscsi "$portal" --json
same "$status" 1
checks=$((checks + 1))
[[ $("$probe" json error.reason <<<"$err") == *"cannot listen on $portal: Address already in use"* ]] || fail "no reason in: $err"
# One that starts lets go of the standard error: this ends, and the server does not.
ok "${second[@]}"
# Commands that it has told are for it, not for the one of the environment, whatever says them.
ok lun create thin 1G --socket "$work/iscsi2.sock"
refused 1 "'lunette df --socket $work/iscsi2.sock'" lun create fat 1G --space-reserve yes --socket "$work/iscsi2.sock"
ok explain space --socket "$work/iscsi2.sock"
checks=$((checks + 1))
[[ $out =~ "try: lunette pool grow +"[0-9]+"M --socket $work/iscsi2.sock" ]] || fail "explain says: $out"
qemu-io -f raw "nbd+unix:///thin?socket=$work/nbd2.sock" -c 'write 0 100M' >/dev/null 2>&1
ok event show --socket "$work/iscsi2.sock"
says "'lunette df --socket $work/iscsi2.sock' shows"
refused 1 "try: lunette lun show thin --socket $work/iscsi2.sock" lun create thin 1M --socket "$work/iscsi2.sock"
LUNETTE_SOCKET=$work/iscsi2.sock refused 1 "try: lunette lun show thin" lun create thin 1M --socket "$work/iscsi2.sock"
checks=$((checks + 1))
[[ $err != *--socket* ]] || fail "a socket that needs no name is named: $err"
LUNETTE_SOCKET=$work/iscsi2.sock ok server stop
ok server stop
wait_for_end "$background"
# In the foreground too.
"$lunette" "${serve[@]}" --pool "$pool" --socket "$work/iscsi.sock" --iscsi 127.0.0.1:0 --iscsi 127.0.0.1:0 \
    --foreground >"$work/said" 2>>"$work/log" &
background=$!
ok server status --wait 2m --json
json iscsi_portals.1 '*' server status
portal=$("$probe" json iscsi_portals.1 <<<"$out")
until [[ $(grep -c '^iSCSI:' "$work/said") == 2 ]]; do :; done
same "$(sed -n '2s/^iSCSI: *//p' "$work/said")" "$portal"
ok server stop
wait "$background"
background=

# Limits and redirection come from the conf file.
iscsi_conf()
{
    printf '%s\n' "[pool]" "path = $pool" "[management]" "socket = $work/limits.sock" "[iscsi]" \
        "portal = 127.0.0.1:0" "$@" >"$work/limits.conf"
    ok "${serve[@]}" --conf "$work/limits.conf"
    background=$(<"$work/lunette.pid")
    portal=$("$lunette" server status --json | "$probe" json iscsi_portals.0)
}
export LUNETTE_SOCKET=$work/limits.sock
if command -v iscsi-ls >/dev/null && command -v iscsi-inq >/dev/null; then
    iscsi_conf "sessions = 1" "login_timeout = 20s" "queue_depth = 8"
    ok igroup create g iqn.2026-11.test:limits
    ok lun create limited 64M
    ok lun map limited --igroup g --lun-id 0
    url=iscsi://$portal/$target/0
    mkfifo "$work/hold"
    qemu-io --image-opts "driver=raw,file.driver=iscsi,file.transport=tcp,file.portal=$portal,file.target=$target,file.lun=0,file.initiator-name=iqn.2026-11.test:limits" \
        <"$work/hold" >"$work/held" 2>&1 &
    holder=$!
    exec 7>"$work/hold"
    until [[ $("$lunette" iscsi session show --json | "$probe" json count) == 1 ]]; do
        kill -0 $holder 2>/dev/null || { fail "no session: $(<"$work/held")"; break; }
    done
    checks=$((checks + 1))
    iscsi-inq -i iqn.2026-11.test:limits "$url" >"$work/inq" 2>&1 &&
        fail "a second session where one is the limit"
    exec 7>&-
    wait $holder
    ok server stop
    wait_for_end "$background"

    # A target that sends everybody to the one that serves.
    ok "${serve[@]}" --pool "$pool" --socket "$work/limits.sock" --iscsi 127.0.0.1:0
    background=$(<"$work/lunette.pid")
    served=$("$lunette" server status --json | "$probe" json iscsi_portals.0)
    ok pool create "$work/empty" 256M
    export LUNETTE_SOCKET=$work/redirect.sock
    printf '%s\n' "[pool]" "path = $work/empty" "[management]" "socket = $LUNETTE_SOCKET" "[nbd]" \
        "socket = $work/redirect-nbd.sock" "[server]" "pid_file = $work/redirect.pid" "[iscsi]" \
        "portal = 127.0.0.1:0" "redirect = $served" >"$work/redirect.conf"
    ok "${serve[@]}" --conf "$work/redirect.conf"
    other=$(<"$work/redirect.pid")
    from=$("$lunette" server status --json | "$probe" json iscsi_portals.0)
    name=$("$lunette" server status --json | "$probe" json iscsi_target)
    # The client keeps the target's name; that the other one has another name is what it is told.
    checks=$((checks + 1))
    said=$(timeout 60 iscsi-inq -i iqn.2026-11.test:limits "iscsi://$from/$name/0" 2>&1)
    [[ $said == *"Target not found"* ]] ||
        fail "the login did not get to $served: $said"
    ok server stop
    wait_for_end "$other"
    export LUNETTE_SOCKET=$work/limits.sock
    ok server stop
    wait_for_end "$background"
fi
background=
finish
