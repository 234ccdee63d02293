export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
export GIT_AUTHOR_DATE='1700000000 +0000' GIT_COMMITTER_DATE='1700000000 +0000'
git init -q -b main repo && cd repo
git config pack.threads 1 && git config gc.auto 0
for i in $(seq 1 40); do echo "line $i" > file$i; done
git add . && git commit -q -m first
git checkout -q -b side && echo side >> file1 && git commit -qam side
git checkout -q main && echo main >> file2 && git commit -qam main
git merge -q --no-edit side
git mv file3 moved && git rm -q file4 && git commit -qm moves
git checkout -q -b conflict HEAD~1 && echo x > file1 && git commit -qam x
git merge main && echo y > file1 || true
git merge --abort || git reset -q --hard
git checkout -q main && git tag -a v1 -m v1
git stash list; echo dirty >> file5; git stash -q; git stash pop -q; git diff --stat; git checkout -q file5
printf '#!/bin/sh\necho hook ran\n' > .git/hooks/post-commit && chmod +x .git/hooks/post-commit
echo z >> file6 && git commit -qam z
git rebase -q side || git rebase --abort
git gc -q --prune=now && git fsck --full && git count-objects -v | grep -v size
cd .. && git clone -q repo copy && git -C copy log --format='%H %s' && git -C copy ls-files -s
git clone -q --bare repo bare.git && git -C copy push -q ../bare.git HEAD:refs/heads/pushed && git -C bare.git for-each-ref
git -C repo archive HEAD | sha256sum
git -C repo bisect start HEAD HEAD~2 > /dev/null && git -C repo bisect run true | tail -1
rm -f repo/.git/index copy/.git/index repo/.git/BISECT_* copy/.git/packed-refs
