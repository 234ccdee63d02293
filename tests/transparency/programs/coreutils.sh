mkdir -p a/b/c && seq 1 2000 > a/n && head -c 300000 /dev/zero > a/z && ln -s n a/l && ln a/n a/h && mkfifo a/p
touch -d '2001-02-03 04:05:06' a/n && cp -a a copy && cp --reflink=auto --sparse=always a/z sparse && du -a --apparent-size copy | sort
mv copy moved && mv -n moved/n moved/z; install -m 640 a/n installed && stat -c '%a %s %F' installed moved/l && stat -c %Y a/n
sort -r -n -o a/n a/n && sort -S 64k --parallel=2 a/n | md5sum && split -l 300 a/n part. && cat part.* | cmp - a/n
dd if=a/z of=d bs=4096 count=7 seek=3 conv=notrunc,fsync status=none && truncate -s +5 d && wc -c d
echo one | tee t1 t2 > t3 && sed -i 's/one/two/' t1 t2 && cat t1 t2 t3
tar -C a -cf x.tar --mtime=@0 --owner=0 --group=0 --sort=name . && sha256sum x.tar && mkdir y && tar -C y -xf x.tar && diff -r a/b y/b
find a -type f -print0 | sort -z | xargs -0 -n1 wc -c; find a -name 'nothing*' -delete; env -i /usr/bin/env echo clean
timeout 5 sleep 0.05; echo $?; timeout -s INT 0.2 sleep 60; echo $?; nice -n 1 true; nohup true; echo $?
cat missing; echo $?; rm moved; echo $?; mkdir a; echo $?; rmdir a; echo $?; ln -s loop loop; cat loop; echo $?; cp a/n /dev/full; echo $?
echo full > /dev/full; ls -1 -R a; realpath -m a/../b; readlink -f a/l | sed "s,$PWD,,"; tac a/n | tail -3; comm <(seq 3) <(seq 2 4); shuf -i 1-9 --random-source=a/z | head -3
yes | head -3; seq 100000 | head -1; cat a/n | (exec cat >&2) 2>&1 | tail -1; rm -rf moved; chmod -R g-w a; sync d; : > empty; test -s empty; echo $?
df --output=target / | tail -1; pwd | sed 's,.*/,,'; id -u; umask; tty; nl a/n | tail -1; paste t1 t2; expand t1; fold -w 2 t1; od -c t1
rm a/p y/p
