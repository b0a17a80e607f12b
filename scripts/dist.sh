#!/bin/sh
# Makes what is published, in target/packages: a tarball, a .deb, an .rpm, and SHA256SUMS. The same tree gives the same tarball.
#
# usage: dist.sh PROGRAM, a lifeboat that scripts/portable.sh built
set -eu
umask 022
cd "$(dirname "$0")/.."

program="$1"
target=x86_64-unknown-linux-gnu
packages="$PWD/target/packages"
tools="$PWD/target/tools/cargo"
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH

install_tool() { # NAME VERSION
    "$tools/bin/$1" --version 2>/dev/null | grep -qwF "$2" ||
        cargo install --quiet --locked --root "$tools" --version "$2" "$1" >&2
}
install_tool cargo-deb 3.8.0
install_tool cargo-generate-rpm 0.21.1

# What all three hold, once. Cargo.toml of crates/cli says where a package puts each.
rm -rf "$packages"
mkdir -p "$packages/files/completions" "$packages/files/man"
cp "$program" "$packages/files/lifeboat"
cp README.md CHANGELOG.md LICENSE docs/lifeboat.example.yaml docs/lifeboat.schema.json "$packages/files/"
for shell in bash zsh fish; do
    "$program" completions "$shell" >"$packages/files/completions/lifeboat.$shell"
done
"$program" man "$packages/files/man"
gzip -n9 -k "$packages"/files/man/*.1
find "$packages/files" -type f -exec chmod 644 {} +
chmod 755 "$packages/files/lifeboat"

version=$("$program" --version | cut -d' ' -f2)
cat >"$packages/files/changelog" <<END
lifeboat ($version-1) unstable; urgency=medium

  * Release $version: see CHANGELOG.md in the tarball.

 -- Lifeboat maintainers <maintainers@lifeboat.invalid>  $(LC_ALL=C date --utc --date "@$SOURCE_DATE_EPOCH" --rfc-email)
END
# It is not uploaded to Debian, where a first upload closes a bug.
echo "lifeboat: initial-upload-closes-no-bugs" >"$packages/files/lintian-overrides"
chmod 644 "$packages/files/changelog" "$packages/files/lintian-overrides"
name="lifeboat-$version-x86_64-linux"
tar --create --gzip --file "$packages/$name.tar.gz" --directory "$packages/files" --transform "s,^\.,$name," \
    --exclude '*.1.gz' --exclude ./changelog --exclude ./lintian-overrides \
    --sort=name --owner=0 --group=0 --numeric-owner --mtime "@$SOURCE_DATE_EPOCH" .
"$tools/bin/cargo-deb" --quiet -p lifeboat --no-build --no-strip --target "$target" --output "$packages/"
"$tools/bin/cargo-generate-rpm" -p crates/cli --target "$target" --payload-compress gzip --output "$packages/"
(cd "$packages" && sha256sum ./*.tar.gz ./*.deb ./*.rpm | sed 's, \./, ,' >SHA256SUMS)
ls -l "$packages" >&2
