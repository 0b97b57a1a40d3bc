# Here-documents: expanded, quoted, with tabs removed, nested, large, and as a loop's input.
name=world
cat <<END
hello $name, $(echo substituted), $((6 * 7)), \$literal
END
cat <<'END'
hello $name $(nothing here)
END
cat <<-END
	tabs are removed
	  blanks are not
	END
cat <<ONE; cat <<TWO
first
ONE
second
TWO
while read -r left right; do
  echo "$right/$left"
done <<END
a b
c d
END
sort <<END | tr a-z A-Z
$(cat <<INNER
inner two
inner one
INNER
)
END
# Larger than a pipe holds.
long=$(seq 1 20000)
wc -c <<END
$long
END
sha256sum <<END
$long
END
sh -s argument <<'END'
echo "a script from a here-document: $1"
exit 3
END
echo "status $?"
