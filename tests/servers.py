#!/usr/bin/env python3
"""Collects from a real PostgreSQL and from servers on loopback that speak S3, Google's and Azure's protocols (`just servers`).

PostgreSQL 15 or later comes from Debian (postgresql), the server for S3 and for Google's XML API, which is alike, from PyPI
(`pip install "moto[server]" azure-storage-blob`), the one for Azure from npm (`npm install azurite`; RETUNE_AZURITE names its
`azurite-blob` where it is not on the PATH). As root, the database runs as the user of RETUNE_PGUSER (`postgres` where it is not
given), since it refuses to run as root.
"""
import glob, json, os, pathlib, pwd, shutil, socket, subprocess, sys, tempfile, time, urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
RETUNE = os.environ.get("RETUNE", str(ROOT / "target" / "release" / "retune"))


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def until(what, ready):
    for _ in range(600):
        if ready():
            return
        time.sleep(0.05)
    sys.exit(f"{what} did not come up")


def collected(folder, source, env=(), code=0):
    (folder / "p.kdl").write_text(f'pipeline "p"\ncollect "rows" {{\n    refresh "always"\n    source {source}\n}}\n')
    done = subprocess.run([RETUNE, "run", "p.kdl"], cwd=folder, capture_output=True, text=True, env=dict(os.environ, **dict(env)))
    assert done.returncode == code, (source, done.returncode, done.stderr)
    if code:
        return done.stderr
    shutil.rmtree(folder / "out", ignore_errors=True)
    subprocess.run([RETUNE, "get", "rows", "p.kdl", "--to", "out"], cwd=folder, check=True, capture_output=True)
    return [json.loads(line)["fields"] for line in (folder / "out" / "rows").read_text().splitlines()]


def postgres(folder):
    programs = shutil.which("pg_ctl") and pathlib.Path(shutil.which("pg_ctl")).resolve().parent
    programs = next(iter(map(pathlib.Path, sorted(glob.glob("/usr/lib/postgresql/*/bin")))), programs)
    assert programs, "PostgreSQL is not installed"
    user = os.environ.get("RETUNE_PGUSER", "postgres") if os.getuid() == 0 else None
    data, port = folder / "pg", free_port()
    data.mkdir()
    if user:
        os.chmod(folder, 0o755)
        os.chown(data, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
    (folder / "password").write_text("hidden-word")
    os.chmod(folder / "password", 0o644)

    def program(name, *arguments):
        return subprocess.run([str(programs / name), *arguments], check=True, capture_output=True, user=user, cwd=data)

    program("initdb", "-D", str(data / "d"), "-U", "reader", "--auth=scram-sha-256", f"--pwfile={folder / 'password'}", "-E", "UTF8")
    server = subprocess.Popen([str(programs / "postgres"), "-D", str(data / "d"), "-p", str(port), "-k", str(data), "-c", "listen_addresses=127.0.0.1"],
                              user=user, cwd=data, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        env = dict(os.environ, PGPASSWORD="hidden-word")
        sql = lambda text: subprocess.run(["psql", "-h", "127.0.0.1", "-p", str(port), "-U", "reader", "postgres", "-qc", text], capture_output=True, text=True, env=env)
        until("PostgreSQL", lambda: sql("select 1").returncode == 0)
        made = sql("create table t (id int primary key, body text, score numeric(6,2), open boolean, at timestamptz, extra jsonb, tags text[]);"
                   "insert into t select n, 'message ' || n, n / 4.0, n % 2 = 0, '2026-01-01T00:00:00Z', jsonb_build_object('n', n), array['a', 'b'] from generate_series(1, 5000) n;"
                   "insert into t (id) values (5001)")
        assert made.returncode == 0, made.stderr
        address = f"postgres://reader@127.0.0.1:{port}/postgres"
        source = lambda query: f'"{address}" {{\n        query "{query}"\n        password (secret)"PGPASSWORD"\n    }}'
        rows = collected(folder, source("select id, body as text, score, open, extra from t order by id"), env.items())
        assert len(rows) == 5001 and rows[3]["text"] == "message 4" and rows[3]["open"] is True and float(rows[3]["score"]) == 1.0, rows[3]
        assert rows[5000]["text"] is None, rows[5000]
        sql("update t set body = 'other' where id = 1")
        assert collected(folder, source("select id, body as text from t order by id limit 2"), env.items())[0]["text"] == "other"
        said = collected(folder, source("delete from t"), env.items(), code=1)
        assert "hidden-word" not in said, said
        assert sql("select 1 from t where id = 5001").stdout.count("1") >= 1, "a query only reads"
        said = collected(folder, source("select nothing from t"), env.items(), code=1)
        assert "nothing" in said and "hidden-word" not in said, said
        said = collected(folder, source("select 1 as a"), dict(env, PGPASSWORD="wrong").items(), code=1)
        assert "wrong" not in said.replace("went wrong", ""), said
    finally:
        server.terminate()
        server.wait()
    print("PostgreSQL: 5,001 rows, a change seen, a write and two mistakes refused")


def s3(folder):
    port = free_port()
    server = subprocess.Popen([sys.executable, "-m", "moto.server", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        def put(path, body=b""):
            request = urllib.request.Request(f"http://127.0.0.1:{port}/{path}", data=body, method="PUT", headers={"Content-Type": "application/octet-stream", "x-amz-acl": "public-read", "Authorization": "AWS4-HMAC-SHA256 Credential=k/20260101/us-east-1/s3/aws4_request"})
            return urllib.request.urlopen(request).status == 200

        def up():
            try:
                return put("logs")
            except OSError:
                return False

        until("the server that speaks S3", up)
        for number in range(1100):
            put(f"logs/data/part-{number:04}.jsonl", b'{"text":"%d"}\n' % number)
        put("logs/data/other.txt", b"nothing of ours")
        env = {"AWS_ENDPOINT": f"http://127.0.0.1:{port}", "AWS_ALLOW_HTTP": "true", "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "hidden-word", "AWS_REGION": "us-east-1"}
        rows = collected(folder, '"s3://logs/data/*.jsonl"', env.items())
        assert sorted(int(row["text"]) for row in rows) == list(range(1100)), len(rows)
        put("logs/data/part-0007.jsonl", b'{"text":"7000"}\n')
        assert {"text": "7000"} in collected(folder, '"s3://logs/data/*.jsonl"', env.items())
        said = collected(folder, '"s3://nowhere/a.jsonl"', env.items(), code=1)
        assert "hidden-word" not in said, said
        # Google's XML API lists and reads as S3 does.
        key = {"gcs_base_url": f"http://127.0.0.1:{port}", "disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
        (folder / "key.json").write_text(json.dumps(key))
        env = {"GOOGLE_SERVICE_ACCOUNT": str(folder / "key.json"), "GOOGLE_ALLOW_HTTP": "true"}
        assert len(collected(folder, '"gs://logs/data/*.jsonl"', env.items())) == 1100
        assert collected(folder, '"gs://logs/data/part-0008.jsonl"', env.items()) == [{"text": "8"}]
    finally:
        server.terminate()
        server.wait()
    print("S3: 1,100 objects over two pages, a change seen, a bucket that is not there named; the same objects by gs://")


def azure(folder):
    from azure.storage.blob import BlobServiceClient

    program = os.environ.get("RETUNE_AZURITE") or shutil.which("azurite-blob")
    assert program, "azurite is not installed"
    port = free_port()
    server = subprocess.Popen([program, "--blobPort", str(port), "--location", str(folder / "az"), "--silent", "--skipApiVersionCheck"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        # The account that it has for everybody.
        account, key = "devstoreaccount1", "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
        address = f"http://127.0.0.1:{port}/{account}"
        client = BlobServiceClient(address, credential={"account_name": account, "account_key": key}, retry_total=0)

        def up():
            try:
                return bool(client.create_container("logs"))
            except Exception:
                return False

        until("azurite", up)
        put = lambda name, body: client.get_blob_client("logs", name).upload_blob(body, overwrite=True)
        for number in range(30):
            put(f"data/part-{number:04}.jsonl", b'{"text":"%d"}\n' % number)
        put("data/other.txt", b"nothing of ours")
        env = {"AZURE_STORAGE_ACCOUNT_NAME": account, "AZURE_STORAGE_ACCOUNT_KEY": key, "AZURE_STORAGE_ENDPOINT": address, "AZURE_ALLOW_HTTP": "true"}
        rows = collected(folder, '"az://logs/data/*.jsonl"', env.items())
        assert sorted(int(row["text"]) for row in rows) == list(range(30)), len(rows)
        put("data/part-0007.jsonl", b'{"text":"7000"}\n')
        assert {"text": "7000"} in collected(folder, '"az://logs/data/*.jsonl"', env.items())
        said = collected(folder, '"az://nowhere/a.jsonl"', env.items(), code=1)
        assert key not in said, said
    finally:
        server.terminate()
        server.wait()
    print("Azure: 30 objects, a change seen, a container that is not there named")


if __name__ == "__main__":
    for work in [postgres, s3, azure]:
        with tempfile.TemporaryDirectory() as folder:
            work(pathlib.Path(folder))
