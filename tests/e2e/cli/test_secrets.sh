#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# CHAP secrets are in no log, listing, command line or core dump, and with a key not in the pool; who
# needs one that the server has not the key for is refused. What else SECURITY.md says of them.

. "$(dirname "$0")/lib.sh"

[[ $engine == lun ]] || skip "the engine in memory keeps nothing"
host=iqn.2001-04.com.example:host1
secret=correct-horse-battery
mutual=staple-in-the-other-way
wrong=not-the-one-you-know
discovery=seek-and-you-shall-find
keys=()

# none_of FILE WHAT: no secret is in it.
none_of()
{
    local each
    for each in $secret $mutual $wrong $discovery "${keys[@]}"; do
        checks=$((checks + 1))
        ! grep -qaF -e "$each" "$1" || fail "$2 has the secret $each"
    done
}

# Nobody's server is one of an ordinary user: only then do owners in /proc tell who may look inside.
as=()
if [[ $(id -u) == 0 ]]; then
    as=(setpriv --reuid=65534 --regid=65534 --clear-groups)
    chown 65534:65534 "$work"
    cp "$plugin" "$work/plugin.so"
    cp "$lunette" "$work/lunette"
    chmod 755 "$work/plugin.so" "$work/lunette"
fi
user=$([[ ${#as[@]} == 0 ]] && id -u || echo 65534)
real_lunette=$lunette
[[ ${#as[@]} == 0 ]] || plugin=$work/plugin.so

start_as_user()
{
    if [[ ${#as[@]} != 0 ]]; then
        lunette=$work/as-user
        printf '#!/bin/bash\nexec %s "%s" "$@"\n' "${as[*]}" "$work/lunette" >"$lunette"
        chmod 755 "$lunette"
    fi
    server_start "$@"
    lunette=$real_lunette
}

ok pool create "$pool" 256M
[[ ${#as[@]} == 0 ]] || chown 65534 "$pool"

# ---- core dumps: the kernel gives a process that leaves none to root ----
if [[ ${#as[@]} != 0 ]]; then
    start_as_user core-dumps=yes
    same "$(stat -c %u "/proc/$server/environ")" "$user"
    server_kill
    start_as_user --verbose --iscsi 127.0.0.1:0 -- -Dlunette.engine=1
    same "$(stat -c %u "/proc/$server/environ")" 0
    checks=$((checks + 1))
    "${as[@]}" head -c 1 "/proc/$server/environ" >/dev/null 2>&1 && fail "another process may look inside"
else
    start_as_user --verbose --iscsi 127.0.0.1:0 -- -Dlunette.engine=1
fi

# ---- set, used, refused ----
ok lun create vm1 64M
ok igroup create web $host
ok lun map vm1 --igroup web --lun-id 5
printf '%s\n%s\n' $secret $mutual | "$lunette" iscsi chap set igroup:web --user web \
    --mutual-user target >"$work/said" 2>&1 || fail "chap set: $(<"$work/said")"
ok iscsi chap set discovery --user finder --secret $discovery
refused 1 "same CHAP secret" iscsi chap set '*' --user u --secret $wrong --mutual-user t \
    --mutual-secret $wrong
json portals.0.address '*' iscsi portal show
portal=$("$probe" json portals.0.address <<<"$out")
target=$("$probe" json portals.0.target <<<"$out")
if command -v iscsi-inq >/dev/null; then
    checks=$((checks + 5))
    url=$portal/$target/5
    iscsi-inq -i $host "iscsi://web%$secret@$url" >"$work/inq" 2>&1 || fail "login: $(<"$work/inq")"
    iscsi-inq -i $host "iscsi://web%$secret@$url?target_user=target&target_password=$mutual" \
        >"$work/inq" 2>&1 || fail "mutual login: $(<"$work/inq")"
    iscsi-inq -i $host "iscsi://web%$wrong@$url" >/dev/null 2>&1 && fail "a wrong secret is taken"
    iscsi-inq -i $host "iscsi://none%$secret@$url" >/dev/null 2>&1 && fail "a wrong user is taken"
    iscsi-ls -i $host "iscsi://finder%$discovery@$portal" >"$work/ls" 2>&1 ||
        fail "discovery: $(<"$work/ls")"
fi
# In messages of what was typed, neither: they end up in the logs of scripts.
for place in "iscsi://web%$wrong@127.0.0.1:1/iqn.x:y/0" \
    "iscsi://web%$wrong@127.0.0.1:1/iqn.x:y/0?target_user=target&target_password=$mutual"; do
    for json in "" --json; do
        # shellcheck disable=SC2086
        refused 1 "import iscsi://127.0.0.1:1/iqn.x:y/0" lun import "$place" taken $json
        none_of "$work/err" "lunette lun import"
        # shellcheck disable=SC2086
        refused 1 "to iscsi://127.0.0.1:1/iqn.x:y/0" lun export vm1 "$place" $json
        none_of "$work/err" "lunette lun export"
    done
done

# ---- nowhere ----
for command in "iscsi chap show" "iscsi chap show --json" "iscsi session show --json" \
    "igroup show --json" "mapping show --json" "event show --json" "job show --json" \
    "server status --json" "pool show --json" "lun attach vm1" "lun attach vm1 --json" "store list"; do
    # shellcheck disable=SC2086
    ok $command
    printf '%s\n' "$out" >"$work/out"
    none_of "$work/out" "lunette $command"
done
tr '\0' '\n' <"/proc/$server/cmdline" >"$work/out"
none_of "$work/out" "the server's command line"
"$lunette" server stop >/dev/null
wait "$server"
server=
none_of "$work/log" "the log"
checks=$((checks + 1))
[[ $(<"$work/log") == *"debug: "* ]] || fail "the log has no debug lines"

# ---- where they are without a key: in the pool, in clear, as SECURITY.md says ----
checks=$((checks + 1))
grep -qaF $secret "$pool" || fail "the pool has no secret: SECURITY.md says otherwise"

# ---- keys ----
key=$work/key other=$work/other.key
for file in "$key" "$other"; do
    ok key create "$file"
    [[ ${#as[@]} == 0 ]] || chown 65534 "$file"
    same "$(stat -c %a "$file")" 600
    keys+=("$(cut -d' ' -f3 "$file")")
done
same "${#keys[0]}" 64
key_id=$(cut -d' ' -f2 "$key")
refused 1 "there already" key create "$key"
[[ $err == *"lunette key show $key"* ]] || fail "no command that can be typed: $err"
refused 3 "no server answers" key show
same "$(cut -d' ' -f3 "$key")" "${keys[0]}"
json key "$key_id" key show "$key"
none_of <(printf '%s' "$out") "lunette key show"
chmod 640 "$key"
serve=(serve --json --plugin "$plugin" --pool "$pool" --key-file)
refused 1 "chmod 600" "${serve[@]}" "$key"
refused 1 "chmod 600" key show "$key"
chmod 600 "$key"
refused 1 "is not a key file" "${serve[@]}" "$pool"
refused 1 "cannot be read" "${serve[@]}" "$work/nowhere"

# restart OPTION...: after a kill -9; beside it verbose and with a portal. $portal is where.
restart()
{
    [[ -z $server ]] || server_kill
    rm -f "$work/nbd.sock"
    start_as_user --verbose --iscsi 127.0.0.1:0 "$@"
    portal=$("$lunette" iscsi portal show --json | "$probe" json portals.0.address)
}

# enters yes|no HOST URL-USER: whether the initiator gets in so; "" without CHAP.
enters()
{
    command -v iscsi-inq >/dev/null || return
    checks=$((checks + 1))
    if timeout 60 iscsi-inq -i "$2" "iscsi://${3:+$3@}$portal/$target/5" >"$work/inq" 2>&1; then
        [[ $1 == yes ]] || fail "$2 gets in as '${3%%%*}'"
    else
        [[ $1 == no ]] || fail "$2 does not get in as '${3%%%*}': $(<"$work/inq")"
    fi
}

# clear COUNT: the pool's file has the secrets so often in clear; "some": at least once.
clear()
{
    local found
    found=$(grep -oaF -e $secret -e $mutual -e $discovery -e $wrong "$pool" | wc -l)
    checks=$((checks + 1))
    [[ $found == "$1" || ($1 == some && $found -gt 0) ]] || fail "the pool has $found secrets in clear, not $1"
}

# kept_in_memory: no secret and no key lies where it could be swapped out, and the key where it cannot.
kept_in_memory()
{
    local found status=0
    found=$("$(dirname "$0")/secret_pages.py" "$server" $secret $mutual $wrong $discovery "${keys[@]}" \
        2>"$work/pages") || status=$?
    [[ $status == 77 ]] && return # who is not root cannot look
    checks=$((checks + 1))
    [[ $found == "locked "[1-9]*" swappable 0" ]] || fail "secrets in memory: $found; $(<"$work/pages")"
}

# events NAME COUNT
events()
{
    same "$("$lunette" event show --json | grep -c "\"name\": \"$1\"")" "$2"
}

# ---- with a key: what is in clear works still, new ones are wrapped, a rewrap wraps all ----
restart --key-file "$key"
[[ ${#as[@]} == 0 ]] || same "$(stat -c %u "/proc/$server/environ")" 0
json key "$key_id" server status
json secrets_in_clear 2 server status
events iscsi.chap.clear 1
json stored wrapped iscsi chap set iqn.2001-04.com.example:host2 --user two --secret $wrong
ok igroup add web iqn.2001-04.com.example:host2
ok igroup create open iqn.2001-04.com.example:host3
ok lun map vm1 --igroup open --lun-id 5
enters yes $host web%$secret
enters yes iqn.2001-04.com.example:host2 two%$wrong
enters no iqn.2001-04.com.example:host2 two%$secret
enters yes iqn.2001-04.com.example:host3 ""
json wrapped 2 iscsi chap rewrap --dry-run
json secrets_in_clear 2 server status
clear some
json wrapped 2 iscsi chap rewrap
json secrets_wrapped 3 server status
json secrets_in_clear 0 server status
clear 0
for command in "iscsi chap show" "iscsi chap show --json" "server status --json" "event show --json" "store list"; do
    # shellcheck disable=SC2086
    ok $command
    none_of <(printf '%s' "$out") "lunette $command"
done
[[ $("$lunette" iscsi chap show) == *"igroup:web"*"wrapped"*"$key_id"* ]] || fail "chap show does not say how it lies"
tr '\0' '\n' <"/proc/$server/cmdline" >"$work/out"
none_of "$work/out" "the command line with a key"
json kept 3 iscsi chap rewrap
restart --key-file "$key"
clear 0
enters yes $host web%$secret
enters no $host web%$wrong
enters no $host ""
kept_in_memory
json stored wrapped iscsi chap set iqn.2001-04.com.example:host2 --user two --secret $wrong
enters yes $host "web%$secret"
kept_in_memory
if command -v iscsi-ls >/dev/null; then
    iscsi-ls -i $host "iscsi://finder%$discovery@$portal" >"$work/ls" 2>&1 || fail "discovery: $(<"$work/ls")"
fi

# ---- without it, and with another: refused is who needs them, and nobody else ----
for with in none other; do
    if [[ $with == none ]]; then restart; else restart --key-file "$other"; fi
    json secrets_locked 3 server status
    events iscsi.chap.locked 1
    enters no $host web%$secret
    enters no $host ""
    enters no $host "%"
    enters no iqn.2001-04.com.example:host2 two%$wrong
    enters yes iqn.2001-04.com.example:host3 ""
    if command -v iscsi-inq >/dev/null; then
        events iscsi.chap.locked 3 # once for each record
        [[ $("$lunette" event show) == *"'igroup:web'"*"$key_id"*lunette* ]] || fail "no event says what helps"
        iscsi-ls -i $host "iscsi://finder%$discovery@$portal" >"$work/ls" 2>&1 && fail "discovery without the key"
    fi
    json needed_key "$key_id" server status
    json records.1.stored locked iscsi chap show
    ok key show "$key"
    says "CHAP secrets in the pool need the key $key_id."
    refused_rewrap=$("$lunette" iscsi chap rewrap --dry-run 2>&1)
    [[ $refused_rewrap == *"the key $key_id"* ]] || fail "rewrap names no key: $refused_rewrap"
    ok lun show vm1
    clear 0
done
refused 1 "" iscsi chap rewrap --old-key "$work/nowhere"
refused 1 "" iscsi chap rewrap --old-key "$pool"
run iscsi chap rewrap # nothing that it could do
same "$status" 1
[[ $err == *"3 CHAP secrets cannot be unwrapped"* ]] || fail "rewrap says: $err"
# What is set anew works at once, wrapped by the key that there is now.
json stored wrapped iscsi chap set iqn.2001-04.com.example:host2 --user two --secret $wrong
enters yes iqn.2001-04.com.example:host2 two%$wrong
json moved 2 iscsi chap rewrap --old-key "$key"
json secrets_wrapped 3 server status
enters yes $host web%$secret
clear 0
restart --key-file "$other"
enters yes $host web%$secret
events memory.unlocked 0

# ---- another key in the file of a server that runs ----
ok key show
says "The server works with the key $(cut -d' ' -f2 "$other"), which it read from $other."
ok key show "$other"
says "The server works with the same."
ok key show "$key"
says "The server works with another, the key $(cut -d' ' -f2 "$other"), which it read from $other."
cp -p "$other" "$work/kept.key"
cp -p "$key" "$work/new.key"
mv "$work/new.key" "$other"
run key show
[[ $status == 0 && $err == *"warning: "*"$other has the key $key_id now"* ]] || fail "key show says: $out $err"
run iscsi chap set iqn.2001-04.com.example:host2 --user two --secret $wrong
[[ $status == 0 && $err == *"warning: "*"$key_id now"* ]] || fail "chap set says: $out $err"
events key.file.changed 1
json server_key "$(cut -d' ' -f2 "$work/kept.key")" key show "$other"
refused 1 "$key_id now" iscsi chap rewrap
rm "$other"
refused 1 "could not start again" iscsi chap rewrap
mv "$work/kept.key" "$other"
ok iscsi chap rewrap
ok iscsi chap set iqn.2001-04.com.example:host2 --user two --secret $wrong

# ---- a server that may lock no memory says so once, and goes on ----
limit=$(ulimit -S -l)
ulimit -S -l 0
restart --key-file "$other"
ulimit -S -l "$limit"
enters yes $host web%$secret
json stored wrapped iscsi chap set iqn.2001-04.com.example:host2 --user two --secret $wrong
events memory.unlocked 1

# ---- systemd's credential; a key that only root may read, in a server that becomes another user ----
mkdir "$work/credentials"
cp "$other" "$work/credentials/lunette.key"
chmod 440 "$work/credentials/lunette.key"
[[ ${#as[@]} == 0 ]] || chown 65534:65534 "$work/credentials" "$work/credentials/lunette.key"
export CREDENTIALS_DIRECTORY=$work/credentials
restart
unset CREDENTIALS_DIRECTORY
json secrets_wrapped 3 server status
enters yes $host web%$secret
if [[ ${#as[@]} != 0 ]]; then
    server_kill
    rm -f "$work/nbd.sock"
    chown 0 "$other" "$pool"
    server_start --user nobody --iscsi 127.0.0.1:0 --verbose --key-file "$other"
    portal=$("$lunette" iscsi portal show --json | "$probe" json portals.0.address)
    same "$(stat -c %u "/proc/$server/environ")" 0
    json secrets_wrapped 3 server status
    enters yes $host web%$secret
    # It may not read the file any more, but sees that it is another.
    ok iscsi chap rewrap
    cp -p "$other" "$work/new.key"
    mv "$work/new.key" "$other"
    refused 1 "was replaced since" iscsi chap rewrap
fi
"$lunette" server stop >/dev/null
wait "$server"
server=
clear 0
none_of "$work/log" "the log of all of them"

# ---- serve itself says which key is missing ----
rm -f "$work/nbd.sock"
run serve --background --plugin "$plugin" --pool "$pool" --iscsi 127.0.0.1:0
[[ $status == 0 && $err == *"warning: 3 CHAP secrets"*"$(cut -d' ' -f2 "$other")"* ]] || fail "serve says: $out $err"
ok server stop
finish
