#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What is refused: with which status, in which words, and with a command that helps.

. "$(dirname "$0")/lib.sh"

# ---- usage: 2 ----
refused 2 "is no command" fly
refused 2 'try: lunette help lun' lun fly
refused 2 "needs a word behind it" snapshot
refused 2 'did you mean "lunette lun show"?' lun shwo
refused 2 'did you mean "lunette lun show"?' help lun shwo
refused 2 'did you mean "lunette lun"?' luns --help
refused 2 'did you mean --size?' lun create a 1G --siez 1G
refused 2 "needs NAME SIZE" lun create
refused 2 "needs NAME SIZE" lun create a
refused 2 "not a size" lun create a lots
refused 2 '"-1G" reads as an option' lun resize a -1G
refused 2 "a pool in a file needs a SIZE" pool create "$pool"
refused 2 "--expire: 2020-01-01 is over" lun create a 1G --expire 2020-01-01
refused 2 "--lock-until: 2020-01-01T10:00 is over" lun create a 1G --lock-until 2020-01-01T10:00
refused 2 "--until: 2020-01-01 is over" snapshot lock a@s --until 2020-01-01
refused 2 "--autogrow-threshold: 101 is outside 1 to 99" pool modify --autogrow-threshold 101
refused 2 '"lun fly" is no command' help lun fly
refused 2 "no such option" lun create a 1G --sise 1
refused 2 "twice" lun create a 1G --size 1G
refused 2 "same thing twice" lun create a 1G --size 2G
refused 2 "--sector: " lun create a 1G --sector 4097
refused 2 "--sector: " lun create a 1G --sector 1000
refused 2 "is none of error|pause" volume modify v --when-full x
refused 2 "is none of own|all" pool modify --lease-snapshots x
refused 2 "--sector: " lun import /dev/null a --sector 1000
refused 2 "needs a name with %d" lun clone a b --count 3
refused 2 "needs --count" lun clone a 'b%d'
refused 2 "--count: " lun clone a 'b%d' --count 20001
refused 2 "LUN@SNAPSHOT" snapshot create a
refused 2 "LUN@SNAPSHOT" snapshot create @b
refused 2 "one snapshot at a time" snapshot delete a@b c
refused 2 'no field "colour"' lun show --fields colour
refused 2 "--units" lun show --units X
refused 2 '--timeout: "soon" is not a duration' job wait --timeout soon
refused 2 '--wait: "soon" is not a duration' server status --wait soon
refused 2 '--interval: "soon" is not a duration' top --interval soon
refused 2 "no command given, only the option --fly" --fly
refused 2 "not a whole number" job cancel x
refused 2 "not both" tree --dot --json
refused 2 "name the pool" serve
refused 2 "not both" serve --pool "$pool" --foreground --background
refused 2 "not on both" serve --pool "$pool" --nbd-socket /x --nbd-listen 1
refused 2 "0 to 65535" serve --pool "$pool" --nbd-listen 1:99999
run
same "$status" 2

# ---- a group of commands: listed ----
for words in "lun --help" "lun -h" "--help lun" "help lun" "help lun --help"; do
    # shellcheck disable=SC2086
    ok $words
    says "lun create "
    [[ $out != *"pool create "* ]] || fail "lunette $words lists more than the group"
done
json commands.1.command "lun reservation clear" lun reservation --help

# ---- no server: 3 ----
for command in "lun show" "pool show" "df" "tree" "event show" "job show" "server status" \
    "server stop" "lun create a 1G" "lun clone a b" "lun delete a" "snapshot create a@b" \
    "lun import $0 a" "lun export a b" "lun attach a" "freed a" "pool check"; do
    # shellcheck disable=SC2086
    refused 3 "no server answers on $LUNETTE_SOCKET" $command
    [[ $err == *"try: lunette serve"* ]] || fail "$command gives no way out: $err"
done
refused 3 "no server answers on /nonexistent/x" lun show --socket /nonexistent/x
[[ $err == *"--socket or LUNETTE_SOCKET names another"* ]] || fail "not how to name a socket: $err"
refused 1 "there is no pool $work/none" serve --pool "$work/none" --plugin "$plugin"
[[ $err == *"try: lunette pool create"* ]] || fail "no hint: $err"
refused 3 "no server answers" server status --wait 1ms

# ---- refused: 1 ----
refused 1 "cannot open pool '$work/none'" pool show --pool "$work/none"
[[ $err == *"try: lunette pool create"* || $engine != lun ]] || fail "no hint: $err"
refused 1 "" pool create "$work/none/pool" 1G
echo "a file of somebody's" >"$work/file"
refused 1 "" pool create "$work/file" 1G
refused 1 "" pool show --pool "$work/file"
same "$(od -c "$work/file")" "$(echo "a file of somebody's" | od -c)"
ok pool create "$pool" 256M
refused 1 "--overwrite" pool create "$pool" 256M
refused 1 "--overwrite" pool create "$pool" 256M --dry-run
ok pool create "$pool" 256M --overwrite --dry-run
says "What $pool holds now would be lost."
json destroys true pool create "$pool" 256M --overwrite --dry-run
json destroys false pool create "$work/other" 256M --dry-run
[[ ! -e $work/other ]] || fail "a dry run made a file"
ok pool show --pool "$pool"
[[ $engine != lun ]] || refused 1 "at least 8 MiB" pool create "$work/other" 1M --dry-run
refused 1 "cannot read /nonexistent.conf" serve --conf /nonexistent.conf
printf '[pool]\npath = /p\nspeed = high\n' >"$work/bad.conf"
refused 1 "$work/bad.conf:3: no key \"speed\"" serve --conf "$work/bad.conf"
refused 1 "apt install nbdkit" serve --pool "$pool" --nbdkit "$work/no-nbdkit" --foreground

server_start
if [[ $engine == lun ]]; then
    refused 1 "$server" pool check --pool "$pool"
    refused 1 "$server" pool grow 1G --pool "$pool"
fi
refused 1 "process $server, answers" serve --pool "$pool" --plugin "$plugin"

ok lun create a 64M
ok snapshot create a@s
refused 1 "cannot create LUN a: " lun create a 64M
[[ $err == *"try: lunette lun show a"* ]] || fail "no hint: $err"
refused 1 "" lun create a 64M --dry-run
refused 1 "" lun create 'bad/name' 64M
refused 1 "" lun create odd 1000
refused 1 "" lun create huge 8000P
refused 1 "lunette lun show" lun show none
refused 1 "cannot clone none: " lun clone none b
refused 1 "" lun clone a a
refused 1 "" lun clone a@none b
refused 1 "" lun clone a 'x%d%d' --count 2
refused 1 "" lun clone a 'x%s' --count 2
refused 1 "" lun rename none b
refused 1 "" lun rename a a/b
[[ $engine != lun ]] || refused 1 "from 64 MiB to 32 MiB would cut off" lun resize a 32M
refused 1 "" lun resize none 1G
# A dry run shows what would go, and with which option.
if [[ $engine == lun ]]; then
    run lun delete a --dry-run
    same "$status" 1
    says "Would delete a"$'\n'"Would delete a@s"$'\n'"Frees "
    checks=$((checks + 1))
    [[ $err == *"refused as it stands: LUN 'a' has 1 snapshot; 'lunette lun delete a --with-snapshots'"*"try: lunette lun delete a --with-snapshots --dry-run" ]] ||
        fail "a delete that lacks an option: $err"
    run lun delete a --dry-run --json
    same "$("$probe" json needs.0 <<<"$out")" --with-snapshots
    same "$("$probe" json goes.# <<<"$out")" 2
fi
refused 1 "with-snapshots" lun delete a
refused 1 "" lun delete none
# All or none: what may go stays when something else may not.
ok lun create b 64M
refused 1 "cannot delete LUN none: " lun delete b none --yes
refused 1 "cannot delete LUN a: " lun delete b a --yes
refused 2 "b is named twice" lun delete b b --yes
json luns.0.name b lun show b
ok lun delete b
refused 1 "LUN 'a' has no snapshot 'none'; 'lunette snapshot show a'" lun export a@none "$work/file.raw"
refused 1 "LUN 'a' has no snapshot 'none'" lun export a@none..a "$work/file.raw"
refused 1 "LUN 'a' has no snapshot 'none'" lun export a@s..a@none "$work/file.raw" --dry-run
refused 1 "there is no LUN or snapshot 'none'" lun export none "$work/file.raw"
refused 1 "there is no LUN or snapshot 'a*'" lun export 'a*' "$work/file.raw"
truncate -s 1M "$work/image.raw"
refused 1 "cannot note the progress in /nonexistent/x" lun import "$work/image.raw" left --resume /nonexistent/x
[[ $err == *"LUN left was deleted again"* ]] || fail "left behind what cannot be resumed: $err"
json luns.# 1 lun show
[[ ! -e $work/file.raw ]] || fail "an export that was refused left a file"
refused 1 "" lun comment none text
refused 1 "" lun comment a "$(printf 'x%.0s' {1..200})"
refused 1 "cannot create snapshot a@s: " snapshot create a@s
refused 1 "" snapshot create none@s
refused 1 "" snapshot delete a@none
refused 1 "" snapshot delete a@none --dry-run
refused 1 "" snapshot rename a@none b
refused 1 "" snapshot restore a@none
refused 1 "" snapshot restore a@none --dry-run
refused 1 "" freed a none
refused 1 "" pool dump nonsense
refused 1 "never shrinks" pool grow 1M
refused 1 "never shrinks" pool grow 1M --dry-run
[[ $engine != lun ]] || refused 1 "adds no allocation group" pool grow +1M --dry-run
if [[ $engine == lun ]]; then
    ok pool grow +65M --dry-run
    says "the last 1 MiB would make none"
    json asked_bytes '*' pool grow +65M --dry-run
fi
[[ $engine != lun ]] || refused 1 "a maximum of 1 MiB lets it grow no more" \
    pool modify --autogrow-step 1G --autogrow-max 1M
[[ $engine != lun ]] || refused 1 "cannot be grown to " pool grow 8000P
json snapshots.0.name a@s snapshot show a@s
json count 1 snapshot show a@s
refused 1 "LUN 'a' has no snapshot 'none'" snapshot show a@none
refused 1 "there is no job 77" job cancel 77
refused 1 "" lun attach none
refused 1 "" lun attach a..none
json luns.# 1 lun show
json luns.0.size_bytes 67108864 lun show

# ---- a LUN that a client has open ----
mkfifo "$work/go"
nbdkit_uri=$("$lunette" lun attach a --json | "$probe" json uri)
qemu-io -f raw "$nbdkit_uri" <"$work/go" >"$work/qemu-io" 2>&1 &
client=$!
exec 5>"$work/go"
echo "write -P 1 0 64k" >&5
until [[ $("$lunette" lun show a --json | "$probe" json luns.0.open) -gt 0 ]]; do :; done
refused 1 "" lun delete a --with-snapshots
run lun delete a --with-snapshots --dry-run
same "$status" 1
[[ $engine != lun || $err == *"is open by 1 client: "*"lunette lun delete a --with-snapshots --force --dry-run" ]] ||
    fail "of an open LUN: $err"
refused 1 "" snapshot restore a@s
ok lun delete a --with-snapshots --force
exec 5>&-
wait "$client"
json luns.# 0 lun show

# What is a volume is said to be one.
if [[ $engine == lun ]]; then
    ok volume create db
    refused 1 "'db' is a volume; \`lunette lun show 'db/*'\` lists the LUNs in it" lun show db
    ok snapshot policy create p --schedule daily:3
    refused 2 "nothing of the snapshot policy is to be changed" snapshot policy modify p
fi

# A lock no option helps against; and what may go stays when something else may not.
if [[ $engine == lun ]]; then
    ok lun create locked 64M --lock-until 1h
    refused 1 "'locked' is locked until" lun delete locked --dry-run
    ok lun create b 64M
    refused 1 "cannot delete LUN locked: " lun delete b locked --yes
    ok lun show b
fi
finish
