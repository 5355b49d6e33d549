#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# CHAP secrets are in no log, listing, command line or core dump; what else SECURITY.md says of them.

. "$(dirname "$0")/lib.sh"

[[ $engine == lun ]] || skip "the engine in memory keeps nothing"
host=iqn.2001-04.com.example:host1
secret=correct-horse-battery
mutual=staple-in-the-other-way
wrong=not-the-one-you-know
discovery=seek-and-you-shall-find

# none_of FILE WHAT: no secret is in it.
none_of()
{
    local each
    for each in $secret $mutual $wrong $discovery; do
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

# ---- where they are: in the pool, in clear, as SECURITY.md says ----
checks=$((checks + 1))
grep -qaF $secret "$pool" || fail "the pool has no secret: SECURITY.md says otherwise"
finish
