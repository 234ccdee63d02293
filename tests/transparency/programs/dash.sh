cat > s <<'EOF'
echo a > one; echo b >> one; cat one; (echo sub; exit 4); echo $?; x=$(echo captured); echo $x
exec 3> three; echo c >&3; exec 3>&-; read y < three; echo $y; echo err >&2 2> err; sleep 0.02 & wait; set -- 1 2; echo $#; echo x | (read z; echo $z)
cat nothing; echo $?; : > three; trap 'echo bye' EXIT; kill -0 $$; umask 077; echo > private; ls -l private | cut -c1-10; exec false
EOF
dash s; echo $?
