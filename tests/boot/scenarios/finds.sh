# find over a tree, sorted and counted.
for a in $(seq 1 12); do
  mkdir -p "tree/$a/x/y"
  for b in $(seq 1 12); do echo "$a $b" > "tree/$a/x/y/file $b"; done
  ln -s x "tree/$a/link"
done
find tree | sort | wc -l
find tree | sort | sha256sum
find tree -type f | wc -l
find tree -type l | sort | head -n 3
find tree -name 'file 1*' -path '*3*' | sort
find tree -type f -exec cat {} + | sort -n | sha256sum
find tree -type f -name 'file 7' -exec rm {} \;
find tree -type f | wc -l
find tree -type d -empty | wc -l
find tree -type f -size -2 -print0 | xargs -0 cat | wc -l
find tree -depth | tail -n 1
find tree -depth -exec rm -r {} + 2> /dev/null; ls
