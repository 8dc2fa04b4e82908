# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The Converge developers
#
# Which C file uses what another one defines: "USER DEFINER NAME", a line each.
# Arguments: the files. A definition is a function or a variable that is not
# static; a use is its name in the code of another file, as a whole word.

# The line without comments, strings and what is for the preprocessor.
function code_of(line,    at)
{
    gsub(/"([^"\\]|\\.)*"/, "\"\"", line)
    gsub(/'([^'\\]|\\.)'/, "' '", line)
    if (in_comment) {
        at = index(line, "*/")
        if (!at) { return "" }
        line = substr(line, at + 2)
        in_comment = 0
    }
    while ((at = index(line, "/*"))) {
        rest = substr(line, at + 2)
        line = substr(line, 1, at - 1)
        if (!(at = index(rest, "*/"))) {
            in_comment = 1
            break
        }
        line = line " " substr(rest, at + 2)
    }
    sub(/\/\/.*/, "", line)
    if (in_macro || line ~ /^[ \t]*#/) {
        in_macro = line ~ /\\$/
        return line ~ /^[ \t]*#[ \t]*(include|if|el|endif)/ ? "" : line
    }
    return line
}

# What a statement outside of all braces defines, if it is for other files.
function note_definition(head)
{
    gsub(/__attribute__ *\(\([^()]*(\([^()]*\))?[^()]*\)\)/, "", head)
    if (head ~ /^ *(static|typedef|extern)[^a-zA-Z0-9_]/) { return }
    if (head ~ /=/) {
        sub(/ *(\[[^\]]*\])? *=.*/, "", head)
    } else if (head ~ /\{$/ && head ~ /\(/) {
        sub(/ *\(.*/, "", head)
    } else {
        return
    }
    sub(/.*[^a-zA-Z0-9_]/, "", head)
    # Defined on both sides of an #else it is defined once.
    if (head != "" && !((head, FILENAME) in defines)) {
        defines[head, FILENAME] = 1
        defined_in[head] = defined_in[head] " " FILENAME
    }
}

FNR == 1 { depth = in_comment = in_macro = 0; head = "" }

{
    was_macro = in_macro || $0 ~ /^[ \t]*#/
    code = code_of($0)
    words = code
    gsub(/[^a-zA-Z0-9_]+/, " ", words)
    n = split(words, word, " ")
    for (i = 1; i <= n; i++) { uses[FILENAME, word[i]] = 1 }
    if (was_macro) { next }
    if (!depth) {
        head = head " " code
        if (code ~ /[{;]/) {
            sub(/\{.*/, "{", head)
            note_definition(head)
            head = ""
        }
    }
    depth += gsub(/\{/, "", code) - gsub(/\}/, "", code)
    if (!depth && code ~ /;[ \t]*$/) { head = "" }
}

END {
    for (pair in uses) {
        split(pair, part, SUBSEP)
        n = split(defined_in[part[2]], definers, " ")
        for (i = 1; i <= n; i++) {
            if (definers[i] != part[1]) {
                print part[1], definers[i], part[2]
            }
        }
    }
}
