#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# igroups, mappings, CHAP records, portals and sessions: success, refusal, JSON; first without a
# portal, then with one and a libiscsi client.

. "$(dirname "$0")/lib.sh"

host=iqn.2001-04.com.example:host1
other=iqn.2001-04.com.example:host2
secret=correct-horse-battery

# ---- usage and no server ----
refused 2 "needs IGROUP INITIATOR" igroup add web
refused 2 "needs --igroup" lun map vm1
refused 2 "needs --igroup" lun unmap vm1
refused 2 "--lun-id: " lun map vm1 --igroup web --lun-id 4096
refused 2 "needs --user" iscsi chap set '*'
refused 2 "not both" iscsi chap set '*' --user u --secret x --secret-file /x
refused 2 "needs --mutual-user" iscsi chap set '*' --user u --secret $secret --mutual-secret x
refused 2 "either" iscsi session terminate
refused 2 "either" iscsi session terminate $host --id 1
for command in "igroup show" "mapping show" "iscsi chap show" "iscsi session show" \
    "iscsi portal show" "igroup create g" "igroup delete g" "lun map a --igroup g"; do
    # shellcheck disable=SC2086
    refused 3 "no server answers" $command
done

# ---- without a portal ----
ok pool create "$pool" 512M
server_start
ok lun create vm1 64M
ok lun create vm2 64M
json count 0 igroup show
ok igroup create web $host
says "Created igroup web with 1 initiator."
json igroup db igroup create db
refused 1 "cannot create igroup web: " igroup create web
[[ $err == *"lunette igroup add"* ]] || fail "no hint: $err"
refused 1 "cannot create igroup x: " igroup create x nonsense
refused 1 "" igroup create 'a b'
ok igroup add web $other
says "Added $other to igroup web."
refused 1 "$other" igroup add web $other
refused 1 "lunette igroup" igroup add none $host
json igroups.0.initiators.# 2 igroup show web
json count 2 igroup show
ok igroup show
says "$host $other"
refused 1 "lunette igroup" igroup show none
json dry_run true igroup remove web $other --dry-run
json igroups.0.initiator_count 2 igroup show web
refused 1 "is not in igroup" igroup remove db $host --dry-run
refused 1 "" igroup remove db $host
json igroup web igroup remove web $other
json igroups.0.initiator_count 1 igroup show web

json lun_id 5 lun map vm1 --igroup web --lun-id 5 --dry-run
ok lun map vm1 --igroup web --dry-run
says "Would map vm1 to igroup web as LUN 0."
json count 0 mapping show
ok lun map vm1 --igroup web --lun-id 5
says "Mapped vm1 to igroup web as LUN 5."
json lun_id '*' lun map vm2 --igroup web
refused 1 "cannot map vm1: " lun map vm1 --igroup web
refused 1 "is mapped to igroup 'web' already, as LUN 5" lun map vm1 --igroup web --dry-run
[[ $err == *"'vm1' is mapped to igroup 'web' already, as LUN 5; 'lunette lun unmap vm1 --igroup web' ends that"* ]] ||
    fail "no hint: $err"
ok lun create vm3 64M
refused 1 "" lun map vm3 --igroup web --lun-id 5
refused 1 "" lun map vm3 --igroup web --lun-id 5 --dry-run
refused 1 "lunette igroup" lun map vm3 --igroup none
refused 1 "" lun map none --igroup web
json count 2 mapping show
json mappings.0.lun_id 5 mapping show vm1
json count 0 mapping show --igroup db
ok mapping show --fields lun,igroup
says "vm1"
json mappings.0.lun vm1 lun unmap vm1 --igroup web --dry-run
json count 2 mapping show
refused 1 "lunette mapping show" lun unmap vm3 --igroup web --dry-run
refused 1 "is not mapped" lun unmap vm3 --igroup web
ok lun unmap vm2 --igroup web
says "Unmapped vm2 from igroup web."
refused 1 "1 mapping; " igroup delete web
refused 1 "--force" igroup delete web --dry-run
json mappings.0.lun vm1 igroup delete web --force --dry-run
json count 2 igroup show

# ---- how hosts see it ----
ok lun modify vm1
says "iSCSI hosts see vm1 as: an ordinary disk."
ok lun modify vm1 --read-only yes --removable on
says "iSCSI hosts see vm1 as: read-only, removable."
json removable false lun modify vm1 --removable no
json read_only true lun modify vm1
json native_512 true lun modify vm1 --native-512 yes
json read_only false lun modify vm1 --read-only no --native-512 no
refused 2 "--read-only: " lun modify vm1 --read-only perhaps
refused 1 "lunette lun show" lun modify none --read-only yes
ok lun create vm4 64M --sector 4096
refused 1 "sectors of 4096 bytes" lun modify vm4 --native-512 yes
[[ $err == *"lunette lun modify --help"* ]] || fail "no hint: $err"
ok lun delete vm4
ok lun modify vm1 --read-only yes

# A mapping follows a rename and ends with the LUN, also while there is no portal.
ok lun rename vm1 first
json mappings.0.lun first mapping show
ok lun map vm3 --igroup db
ok lun delete vm3
json count 1 mapping show

# ---- persistent reservations, of which there are none ----
refused 2 "needs LUN" lun reservation show
json count 0 lun reservation show first
json count 0 lun persistent-reservation show first
refused 1 "lunette lun show" lun reservation show none
refused 1 "lunette lun reservation show first" lun reservation clear first
refused 1 "reservation of $host" lun reservation clear first --initiator $host --dry-run

# ---- CHAP ----
ok iscsi chap set igroup:web --user web --secret $secret
says "Set CHAP of igroup:web: user web."
printf '%s\n' $secret >"$work/secret"
ok iscsi chap set '*' --user all --secret-file "$work/secret"
checks=$((checks + 1))
out=$(printf '%s\n%s-2\n' $secret $secret |
    "$lunette" iscsi chap set $host --user host --mutual-user target 2>&1) || fail "stdin: $out"
refused 1 "12" iscsi chap set '*' --user u --secret short
refused 1 "same CHAP secret" iscsi chap set '*' --user u --secret $secret --mutual-user t \
    --mutual-secret $secret
refused 1 "standard input" iscsi chap set '*' --user u
refused 1 "/nonexistent" iscsi chap set '*' --user u --secret-file /nonexistent
refused 1 "" iscsi chap set igroup:none --user u --secret $secret
json count 3 iscsi chap show
[[ $out != *$secret* ]] || fail "a secret is shown: $out"
ok iscsi chap show
says "igroup:web"
[[ $out != *$secret* ]] || fail "a secret is shown: $out"
ok event show
[[ $out != *$secret* ]] || fail "a secret is in the events: $out"
json dry_run true iscsi chap delete $host --dry-run
json count 3 iscsi chap show
json subject $host iscsi chap delete $host
ok iscsi chap delete '*'
refused 1 "lunette iscsi chap show" iscsi chap delete $host
refused 1 "lunette iscsi chap show" iscsi chap delete $host --dry-run
json count 1 iscsi chap show

# ---- portals and sessions, of which there are none ----
json count 0 iscsi portal show
json count 0 iscsi session show
refused 1 "no iSCSI portal" iscsi session terminate $host
[[ $err == *"try: lunette serve --help"* ]] || fail "no hint: $err"
ok lun attach first
[[ $out != *iscsiadm* ]] || fail "lun attach speaks of iSCSI without a portal"

# ---- durable, and with a portal ----
if [[ $engine != lun ]]; then
    finish
fi
server_kill
server_start --iscsi 127.0.0.1:0
json count 2 igroup show
json mappings.0.lun_id 5 mapping show first
json count 1 iscsi chap show
json read_only true lun modify first
json count 1 iscsi portal show
portal=$("$probe" json portals.0.address <<<"$out")
target=$("$probe" json portals.0.target <<<"$out")
json iscsi.0.url "iscsi://$portal/$target/5" lun attach first
json iscsi.0.igroup web lun attach first
json iscsi.# 0 lun attach vm2
ok lun attach vm2
says "lun map vm2 --igroup"
ok lun attach first
for words in "iscsiadm -m node -T $target -p $portal --login" "multipath -ll" \
    "-iscsi initiator-name=$host" "<iqn name='$host'/>" "pvesm add iscsi" "esxcli iscsi" \
    "Connect-IscsiTarget -NodeAddress $target"; do
    says "$words"
done
# The record of the igroup counts for its hosts, an initiator's own more.
for words in "node.session.auth.username -v web" "user=web,password=SECRET" "<auth username='web'>" \
    "--direction=uni --level=required --authname=web" "ONEWAYCHAP -ChapUsername web" \
    "put in what stands for SECRET." 'vendor "LUNETTE"'; do
    says "$words"
done
[[ $out != *$secret* ]] || fail "lun attach shows a secret"
printf '%s\n%s-2\n' $secret $secret | "$lunette" iscsi chap set $host --user own --mutual-user back >/dev/null
ok lun attach first
for words in "node.session.auth.username -v own" "node.session.auth.username_in -v back" \
    "--direction=mutual --level=required --authname=back" "MUTUALCHAP -ChapUsername own" \
    "Set-IscsiChapSecret"; do
    says "$words"
done
printf '%s\n' $secret | "$lunette" iscsi chap set $host --user "o'b <x> \$y" >/dev/null
ok lun attach first
says "node.session.auth.username -v 'o'\\''b <x> \$y'"
says "<auth username='o&#39;b &#60;x&#62; \$y'>"
ok iscsi chap delete $host
refused 1 "lunette iscsi session show" iscsi session terminate $host
refused 1 "lunette iscsi session show" iscsi session terminate --id 7 --dry-run

if command -v iscsi-inq >/dev/null; then
    # The igroup's secret is asked for, by user and secret.
    checks=$((checks + 2))
    iscsi-inq -i $host "iscsi://$portal/$target/5" >/dev/null 2>&1 && fail "CHAP was not asked for"
    iscsi-inq -i $host "iscsi://web%$secret@$portal/$target/5" >"$work/inq" 2>&1 ||
        fail "no login with the right secret: $(<"$work/inq")"
    ok iscsi chap delete igroup:web
fi

# A read-only LUN refuses hosts' writes; they are told when it changes.
if command -v qemu-io >/dev/null; then
    checks=$((checks + 2))
    run iscsi chap delete igroup:web
    image=driver=raw,file.driver=iscsi,file.transport=tcp,file.portal=$portal,file.target=$target
    image+=,file.lun=5,file.initiator-name=$host
    qemu-io --image-opts "$image" -c 'write 0 4k' >"$work/ro" 2>&1 && fail "wrote to a read-only LUN"
    ok lun modify first --read-only no
    qemu-io --image-opts "$image" -c 'write 0 4k' >"$work/ro" 2>&1 || fail "no write: $(<"$work/ro")"
fi

# A client that stays, and is ended.
if command -v qemu-io >/dev/null && qemu-io --help >/dev/null; then
    run iscsi chap delete igroup:web # if it is still there
    image=driver=raw,file.driver=iscsi,file.transport=tcp,file.portal=$portal,file.target=$target
    image+=,file.lun=5,file.initiator-name=$host
    mkfifo "$work/go"
    qemu-io --image-opts "$image" <"$work/go" >"$work/qemu-io" 2>&1 &
    client=$!
    exec 5>"$work/go"
    echo "write -P 7 0 64k" >&5
    # Only while the client lives: one that cannot do iSCSI ends at once.
    until [[ $("$lunette" iscsi session show --json | "$probe" json sessions.0.written_bytes 2>/dev/null) -ge 65536 ]]; do
        kill -0 "$client" 2>/dev/null || break
    done
    json count 1 iscsi session show
    json sessions.0.initiator $host iscsi session show
    ok iscsi session show
    says "$host"
    json sessions.0.initiator $host lun unmap first --igroup web --dry-run
    ok lun unmap first --igroup web --dry-run
    says "$host, connected from 127.0.0.1"
    says "would lose first."
    json sessions.0.initiator $host iscsi session terminate $host --dry-run
    json count 1 iscsi session show
    json ended 1 iscsi session terminate $host
    exec 5>&-
    wait "$client"
fi
finish
