trap 'echo trapped' USR1; kill -USR1 $$
f() { local x=$1; echo $((x * 2)); }; for i in 1 2 3; do f $i; done | tac
exec 7> seven; echo to seven >&7; exec 7>&-; cat seven; exec 8< seven; read -u 8 line; echo "$line"; exec 8<&-
{ echo out; echo err >&2; } > both 2>&1; cat both; cat <<< here; cat <<EOF
document $((1 + 1))
EOF
(cd /; pwd); (exit 3); echo $?; ( ulimit -n 20; bash -c 'ulimit -n' ); { ( ulimit -c 0; bash -c 'kill -SEGV $$'; exit $? ); } 2> /dev/null; echo $?
sleep 0.05 & wait $!; echo $?; sleep 60 & kill $!; wait $! 2> /dev/null; echo $?; for i in 1 2 3 4; do (echo $i > job$i) & done; wait; cat job?
diff <(echo a) <(echo b); echo $?; coproc cat; echo through >&${COPROC[1]}; read -u ${COPROC[0]} back; echo $back; eval "exec ${COPROC[1]}>&-"; wait
mapfile -t lines < both; echo ${#lines[@]}; printf '%s\n' {1..5} | while read n; do echo -n $n; done; echo
set -o noclobber; echo x > both; echo $?; echo x >| both; echo x >> both; cat both; set +o noclobber; no_such_command; echo $?
./both; echo $?; printf 'echo from script $0 $#\n' > s; bash s 1 2; chmod +x s; ./s 3; exec -a zero bash -c 'echo $0'
