#!/usr/bin/env python3
"""Starts a real S3 or WebDAV server on a free loopback port, for the store's tests; or a real messenger.

    python3 testing/servers/serve.py s3     --venv target/test-servers
    python3 testing/servers/serve.py webdav --venv target/test-servers --root DIR --user U --secret S
    python3 testing/servers/serve.py webdav --venv target/test-servers --root DIR --tls DIR
    python3 testing/servers/serve.py messenger --venv target/test-servers --database FILE --secret KEY
    python3 testing/servers/serve.py messages  --venv target/test-servers --database FILE --secret KEY

The first run installs the servers named in requirements.txt into the venv with pip; later runs use
it as it is. The messenger keeps its chats in an encrypted database (SQLCipher), as Signal Desktop does, and
commits to it without a pause; `messages` opens such a database, checks all of it, and prints how many it holds.
Both take --clear BYTES: so much of the database's header is in the clear, as on iOS, and its salt is kept elsewhere.
With --tls the server speaks TLS for the name localhost, and DIR holds its certificate as cert.pem; nobody has signed it but itself. When the server listens, one line `listening 127.0.0.1:PORT` is printed. It ends when
its standard input does, so a test that is killed leaves nothing running.
"""

import argparse
import fcntl
import hashlib
import os
import pathlib
import subprocess
import sys
import venv

HERE = pathlib.Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"


def installed(folder: pathlib.Path) -> pathlib.Path:
    """Makes sure that the venv has the servers, and returns its Python."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp = folder / "requirements.sha256"
    python = folder / "bin" / "python"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    # Tests run side by side: the first one installs, the others wait for it.
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != wanted:
            venv.create(folder, with_pip=True)
            command = [str(python), "-m", "pip", "install", "--quiet", "-r", str(REQUIREMENTS)]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr)
            stamp.write_text(wanted)
    return python


def serve_s3() -> None:
    import logging

    from moto.server import ThreadedMotoServer

    # A line for each request would drown what a test says.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    wait_beside(port)
    server.stop()


def certificate(folder: pathlib.Path, kind: str) -> tuple[str, str]:
    """Makes a certificate for localhost that signs itself, and returns its and its key's file.

    It is one of a server; or one of an `authority`, which signs those of others; or one that is `expired`.
    """
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "keyhaven test server")])
    now = datetime.datetime.now(datetime.timezone.utc)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    until = now + datetime.timedelta(days=-1 if kind == "expired" else 1)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=2))
        .not_valid_after(until)
        .add_extension(names, critical=False)
    )
    if kind == "authority":
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    made = made.sign(key, hashes.SHA256())
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return str(cert_file), str(key_file)


def serve_webdav(
    root: str, user: str, secret: str, port: int, tls: pathlib.Path | None, kind: str
) -> None:
    import threading

    from cheroot import wsgi
    from wsgidav.wsgidav_app import WsgiDAVApp

    app = WsgiDAVApp(
        {
            "provider_mapping": {"/": root},
            "simple_dc": {"user_mapping": {"*": {user: {"password": secret}}}},
            "http_authenticator": {"accept_digest": False, "default_to_digest": False},
            "lock_storage": True,
            "verbose": 0,
            "logging": {"enable": False},
        }
    )
    server = wsgi.Server(("127.0.0.1", port), app)
    if tls:
        from cheroot.ssl.builtin import BuiltinSSLAdapter

        server.ssl_adapter = BuiltinSSLAdapter(*certificate(tls, kind))
    server.prepare()
    threading.Thread(target=server.serve, daemon=True).start()
    wait_beside(server.bind_addr[1])
    server.stop()


def open_encrypted(database: str, secret: str, clear: int):
    from sqlcipher3 import dbapi2

    db = dbapi2.connect(database, isolation_level=None, timeout=30)
    db.execute("PRAGMA key = '{}'".format(secret.replace("'", "''")))
    if clear:
        db.execute(f"PRAGMA cipher_plaintext_header_size = {clear}")
        db.execute("PRAGMA cipher_salt = \"x'{}'\"".format("5a" * 16))
    return db


def serve_messenger(database: str, secret: str, clear: int, journal: str) -> None:
    """Each commit brings one message and its number in another table, and now and then a checkpoint."""
    import random
    import threading
    import time

    db = open_encrypted(database, secret, clear)
    db.execute(f"PRAGMA journal_mode = {journal}")
    db.execute("PRAGMA wal_autocheckpoint = 40")
    db.execute("CREATE TABLE message(id INTEGER PRIMARY KEY, body TEXT, thumbnail BLOB)")
    db.execute("CREATE TABLE state(newest INTEGER)")
    db.execute("BEGIN")
    for number in range(1, 2001):
        db.execute("INSERT INTO message VALUES (?, ?, ?)", (number, f"message {number}", os.urandom(1500)))
    db.execute("INSERT INTO state VALUES (2000)")
    db.execute("COMMIT")
    ended = threading.Event()

    def until_ended() -> None:
        while sys.stdin.read(1):
            pass
        ended.set()

    threading.Thread(target=until_ended, daemon=True).start()
    number, chance = 2000, random.Random(1)
    while not ended.is_set():
        number += 1
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO message VALUES (?, ?, ?)", (number, f"message {number}", os.urandom(200)))
        db.execute("UPDATE message SET body = body || '!' WHERE id = ?", (chance.randint(1, number),))
        db.execute("UPDATE state SET newest = ?", (number,))
        db.execute("COMMIT")
        if number == 2010:
            print(f"listening {database}", flush=True)
        time.sleep(0.003)
    # As a messenger that is killed, it leaves its log behind.
    os._exit(0)


def count_messages(database: str, secret: str, clear: int) -> None:
    """Prints how many messages there are, if all of the database is whole."""
    db = open_encrypted(database, secret, clear)
    pages = db.execute("PRAGMA cipher_integrity_check").fetchall()
    tree = db.execute("PRAGMA integrity_check").fetchall()
    count, newest = db.execute("SELECT (SELECT count(*) FROM message), newest FROM state").fetchone()
    if pages or tree != [("ok",)] or count != newest:
        sys.exit(f"damaged: {pages} {tree} {count} {newest}")
    print(count)


def wait_beside(port: int) -> None:
    print(f"listening 127.0.0.1:{port}", flush=True)
    while sys.stdin.read(1):
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("server", choices=["s3", "webdav", "messenger", "messages"])
    parser.add_argument("--venv", type=pathlib.Path, required=True)
    parser.add_argument("--root", default=".")
    parser.add_argument("--user", default="user")
    parser.add_argument("--secret", default="secret")
    parser.add_argument("--database", default="")
    parser.add_argument("--clear", type=int, default=0)
    parser.add_argument("--journal", choices=["wal", "delete"], default="wal")
    parser.add_argument("--port", type=int, default=0, help="for a server that comes back")
    parser.add_argument("--tls", type=pathlib.Path)
    parser.add_argument("--certificate", choices=["server", "authority", "expired"], default="server")
    options = parser.parse_args()
    if os.environ.get("KEYHAVEN_IN_VENV") != "1":
        python = installed(options.venv.resolve())
        environment = {**os.environ, "KEYHAVEN_IN_VENV": "1"}
        os.execve(python, [str(python), *sys.argv], environment)
    if options.server == "s3":
        serve_s3()
    elif options.server == "messenger":
        serve_messenger(options.database, options.secret, options.clear, options.journal)
    elif options.server == "messages":
        count_messages(options.database, options.secret, options.clear)
    else:
        serve_webdav(
            options.root, options.user, options.secret, options.port, options.tls, options.certificate
        )


if __name__ == "__main__":
    main()
