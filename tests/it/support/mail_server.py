"""A real SMTP server on loopback for the tests.

Keeps every message that it accepts as NNNNNN.eml, its envelope as NNNNNN.json, and every command that it was
sent in commands.log. Prints its port once it listens.
"""

import argparse
import asyncio
import json
import logging
import os
import ssl

from aiosmtpd.smtp import SMTP, AuthResult


class Keep:
    """Writes messages down before they are answered with 250."""

    def __init__(self, folder):
        self.folder = folder
        self.kept = sum(name.endswith(".eml") for name in os.listdir(folder))

    async def handle_DATA(self, server, session, envelope):
        self.kept += 1
        name = os.path.join(self.folder, f"{self.kept:06}")
        login = session.auth_data.login.decode() if session.authenticated else None
        told = {"from": envelope.mail_from, "to": envelope.rcpt_tos, "login": login,
                "tls": server.transport.get_extra_info("ssl_object") is not None}
        with open(f"{name}.json", "w", encoding="utf-8") as file:
            json.dump(told, file)
        with open(f"{name}.part", "wb") as file:
            file.write(envelope.original_content)
        # A reader sees whole messages only.
        os.rename(f"{name}.part", f"{name}.eml")
        return f"250 2.0.0 kept as {self.kept:06}"


async def serve(options):
    context = None
    if options.tls != "none":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.certificate, options.key)
    starttls = options.tls == "starttls"
    keep = Keep(options.folder)

    def log_in(server, session, envelope, mechanism, given):
        right = given.login.decode() == options.username and given.password.decode() == options.password
        return AuthResult(success=right, handled=False, auth_data=given)

    def conversation():
        return SMTP(
            keep,
            hostname="mail.test",
            require_starttls=starttls,
            tls_context=context if starttls else None,
            # With TLS from the first byte aiosmtpd does not know that a login is safe.
            auth_require_tls=starttls,
            auth_required=options.username is not None,
            authenticator=log_in,
            auth_exclude_mechanism=[name for name in ("PLAIN", "LOGIN") if options.mechanism not in (None, name)],
        )

    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        conversation, "127.0.0.1", options.port, ssl=context if options.tls == "implicit" else None
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


parser = argparse.ArgumentParser()
parser.add_argument("folder")
parser.add_argument("--port", type=int, default=0)
parser.add_argument("--tls", choices=["none", "starttls", "implicit"], default="none")
parser.add_argument("--certificate")
parser.add_argument("--key")
parser.add_argument("--username")
parser.add_argument("--password")
parser.add_argument("--mechanism", choices=["PLAIN", "LOGIN"])
options = parser.parse_args()

# aiosmtpd logs each line as it arrives, without what follows AUTH.
commands = logging.getLogger("mail.log")
commands.setLevel(logging.INFO)
commands.addHandler(logging.FileHandler(os.path.join(options.folder, "commands.log")))
asyncio.run(serve(options))
