#!/usr/bin/env bash
# Builds the documentation into build/docs; warnings are errors, and so is anything that a page would load from elsewhere.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

prepare docs
say "mkdocs build --strict"
"$VENV/bin/python" -m mkdocs build --strict --quiet
say "no page loads anything from elsewhere"
found=$(grep -rhoE '<(script|img|iframe)[^>]* src="?(https?:)?//[^">]+|<link[^>]* href="?(https?:)?//[^">]+' build/docs --include='*.html' |
    grep -vE 'rel="?(canonical|prev|next|edit)' || true)
[ -z "$found" ] || die "pages load from elsewhere: $found"
say "build/docs/index.html"
