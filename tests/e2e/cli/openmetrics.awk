# SPDX-License-Identifier: BSD-3-Clause
#
# Checks OpenMetrics text, as far as `lunette metrics` uses it: names, labels, values; a family's
# lines stand together under its TYPE; suffixes fit the type; buckets never shrink and end in +Inf;
# "# EOF" is the last line, once.

function bad(why)
{
    print FILENAME ":" FNR ": " why ": " $0
    failed = 1
}

function suffix_fits(rest)
{
    if (type == "counter")
        return rest == "_total"
    if (type == "info")
        return rest == "_info"
    if (type == "histogram")
        return rest == "_bucket" || rest == "_count" || rest == "_sum"
    return rest == ""
}

ended { bad("behind # EOF") }

/^# EOF$/ { ended = 1; next }

/^# TYPE [a-z_]+ (gauge|counter|histogram|info|stateset)$/ {
    if ($3 in seen)
        bad("family twice")
    seen[$3] = 1
    family = $3
    type = $4
    next
}

/^# UNIT [a-z_]+ [a-z]+$/ {
    if ($3 != family || substr(family, length(family) - length($4)) != "_" $4)
        bad("unit")
    next
}

/^# HELP [a-z_]+ [^\n]+\.$/ {
    if ($3 != family)
        bad("help of another")
    next
}

/^[a-z_]+(\{([a-z_]+="([^"\\]|\\["\\n])*",?)*\})? [0-9]+(\.[0-9]+)?$/ {
    name = $0
    sub(/[ {].*/, "", name)
    labels = $0
    if (!sub(/^[^{]*\{/, "", labels))
        labels = ""
    sub(/\}[^}]*$/, "", labels)
    samples++
    if (index(name, family) != 1 || !suffix_fits(substr(name, length(family) + 1)))
        bad("not of family " family)
    if (name ~ /_bucket$/) {
        bound = labels
        sub(/.*,le="/, "", bound)
        sub(/,le=".*/, "", labels)
        if (labels != last_labels)
            last = 0
        if ($NF + 0 < last)
            bad("a bucket has less than the one before")
        last = $NF + 0
        last_labels = labels
        infinite = bound ~ /^\+Inf/
    }
    if (name ~ /_count$/ && (!infinite || $NF + 0 != last))
        bad("the count is not that of the last bucket")
    next
}

{ bad("not understood") }

END {
    if (!ended || samples == 0) {
        print FILENAME ": " samples + 0 " samples, or no # EOF"
        failed = 1
    }
    exit failed
}
