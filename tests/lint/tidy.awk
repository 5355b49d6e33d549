# SPDX-License-Identifier: BSD-3-Clause
#
# The rules of tidy.sh that look at the lines of one C file. Prints FILE:LINE: [rule] text.
#
# A line may break a rule for a reason that it gives: "tidy: allow RULE, because ..." in a comment
# on the line or on one of the two before it.
#
# Variables: root (a prefix to remove from file names).

function report(rule, text)
{
    if (index(allowed[0] allowed[1] allowed[2], "tidy: allow " rule) > 0)
        return
    printf "%s:%d: [%s] %s\n", file, FNR, rule, text
}

function starts_with(s, prefix)
{
    return substr(s, 1, length(prefix)) == prefix
}

# The line without string and character literals and comments; keeps in_comment over lines.
function code_of(s,    out, i, c, d)
{
    out = ""
    for (i = 1; i <= length(s); i++)
    {
        c = substr(s, i, 1)
        d = substr(s, i, 2)
        if (in_comment)
        {
            if (d == "*/")
            {
                in_comment = 0
                i++
            }
        }
        else if (d == "/*")
        {
            in_comment = 1
            out = out " "
            i++
        }
        else if (d == "//")
            break
        else if (c == "\"" || c == "'")
        {
            out = out c
            for (i++; i <= length(s) && substr(s, i, 1) != c; i++)
                if (substr(s, i, 1) == "\\")
                    i++
            out = out c
        }
        else
            out = out c
    }
    return out
}

# Whether @name is called in @code: as a word, not as a member (x->name(...) or x.name(...)).
function calls(code, name)
{
    return code ~ ("(^|[^A-Za-z0-9_.>])" name "[ ]*\\(")
}

function folder_of(path)
{
    sub(/\/[^\/]*$/, "", path)
    return path
}

function seen_from_outside_lun(path)
{
    return path == "lun/lun.h" || path == "lun/limits.h" || starts_with(path, "lun/base/")
}

# Why @file may not include @path, or "".
function include_fault(path)
{
    if (path !~ /^(lun|server|plugin|tests)\//)
        return "is not written from the root (\"lun/...\", \"server/...\")"
    if (starts_with(file, "tests/"))
        return ""
    if (starts_with(path, "tests/"))
        return "belongs to the tests"
    # The engine's folders work on one struct pool, so lun/ shares its internal headers.
    if (path ~ /_internal\.h$/ && folder_of(path) != folder_of(file) &&
        !(starts_with(file, "lun/") && starts_with(path, "lun/") && !starts_with(file, "lun/base/")))
        return "is internal to " folder_of(path)
    if (starts_with(file, "lun/base/"))
        return starts_with(path, "lun/base/") ? "" : "is above lun/base"
    if (starts_with(file, "lun/"))
        return starts_with(path, "lun/") ? "" : "is above lun"
    if (starts_with(path, "lun/") && !seen_from_outside_lun(path))
        return "is inside the engine: only lun/lun.h, lun/limits.h and lun/base are public"
    if (starts_with(file, "plugin/"))
        return ""
    if (starts_with(path, "plugin/"))
        return "is above server"
    if (starts_with(file, "server/ctl/") && starts_with(path, "server/iscsi/"))
        return "the command line talks to the server and knows nothing of iSCSI"
    if (starts_with(file, "server/scsi/") && path ~ /^server\/(iscsi|net)\//)
        return "SCSI code sees no PDU and no socket"
    if (starts_with(file, "server/iscsi/") && path == "server/scsi/cdb.h")
        return "iSCSI code never looks inside a CDB"
    return ""
}

function check_calls(code,    i)
{
    for (i = 1; i <= banned_count; i++)
        if (calls(code, banned[i]))
            report("banned", banned[i] "() is not used here")
    if (code ~ /(^|[^A-Za-z0-9_])goto[ ]+[A-Za-z_]/)
        report("goto", "goto jumps over the initialisation of cleanup variables")
    if (code ~ /pthread_(mutex|rwlock|cond|spin)_/ && !starts_with(file, "lun/base/"))
        report("pthread", "locks outside lun/base are struct lock, rwlock and condition (lun/base/lock.h)")
    # Time, chance and devices come in through struct env and struct device, so that runs repeat.
    if (starts_with(file, "lun/") && !starts_with(file, "lun/base/") &&
        file !~ /^lun\/pool\/device[_a-z]*\.c$/)
        for (i = 1; i <= world_count; i++)
            if (calls(code, world[i]))
                report("world", world[i] "() makes a run unrepeatable: use struct env or struct device")
}

# A function's body begins with "{" in column 1 after a line that is not a type, and ends with "}".
function check_function(code)
{
    if (code ~ /^\{/)
        body_start = FNR
    else if (code ~ /^\}[ ]*$/ && body_start)
    {
        if (FNR - body_start > 70)
            report("function-length", "the function has " (FNR - body_start - 1) " lines; 69 is the limit")
        body_start = 0
    }
    else if (code ~ /^\}/)
        body_start = 0
}

BEGIN {
    banned_count = split("strcpy strcat sprintf vsprintf strtok gets atoi atol atoll atof alloca assert",
                         banned, " ")
    world_count = split("time gettimeofday clock_gettime rand random srand drand48 getrandom open openat",
                        world, " ")
}

function finish_file()
{
    if (lines > 1000)
        printf "%s:%d: [file-length] %d lines; 1000 is the limit, 500 the aim\n", file, lines, lines
}

FNR == 1 {
    if (file != "")
        finish_file()
    file = FILENAME
    if (starts_with(file, root))
        file = substr(file, length(root) + 1)
    in_comment = 0
    body_start = 0
    allowed[0] = allowed[1] = allowed[2] = ""
    if ($0 != "/* SPDX-License-Identifier: BSD-3-Clause */")
        report("spdx", "the first line is not /* SPDX-License-Identifier: BSD-3-Clause */")
}

{
    lines = FNR
    allowed[2] = allowed[1]
    allowed[1] = allowed[0]
    allowed[0] = $0
    if (length($0) > 100)
        report("width", "wider than 100 columns")
    if ($0 ~ /\t/)
        report("tab", "tabs are not used here")
    if ($0 ~ /[ \t]$/)
        report("trailing", "blanks at the end of the line")
    if (!in_comment && $0 ~ /^[ ]*#[ ]*include[ ]*"/)
    {
        split($0, quoted, "\"")
        fault = include_fault(quoted[2])
        if (fault != "")
            report("include", "\"" quoted[2] "\" " fault)
    }
    code = code_of($0)
    check_calls(code)
    check_function(code)
}

END {
    if (file != "")
        finish_file()
}
