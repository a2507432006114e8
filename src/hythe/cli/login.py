"""``login``, ``logout``, ``register``: credentials for registries, and accounts on hubs.

A mistyped user name must not create an account or send a password. If no account has the name, ``login`` asks for
confirmation before it sends anything.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from hythe.cli.command import Command, CommandFailed
from hythe.cli.connection import add_connection_flags, connected
from hythe.cli.output import add_json_flag, print_json, print_message
from hythe.cli.prompts import (
    ask,
    ask_new_password,
    ask_password,
    confirm,
    is_interactive,
    read_password_from_stdin,
    require_interactive,
)
from hythe.client.client import Client
from hythe.client.credentials import Credential, key_target
from hythe.client.errors import RemoteNotFound
from hythe.client.hub import HubClient, UsernameStatus
from hythe.client.id_tokens import exchange_id_token, id_token_of_job
from hythe.client.login import check_credential
from hythe.oci.reference import is_host


def _configure_credentials(parser: ArgumentParser) -> None:
    parser.add_argument(
        "server", nargs="?", default="", metavar="SERVER", help="host of the registry (default: the default registry)"
    )
    parser.add_argument("-u", "--username", default="", help="user name")
    parser.add_argument("-p", "--password", default="", help="password (visible to other users of this machine)")
    parser.add_argument("--password-stdin", action="store_true", help="read the password from stdin")
    parser.add_argument(
        "--legacy-dockercfg", action="store_true", help="store the credentials in ~/.dockercfg, for docker before 1.7"
    )
    add_json_flag(parser)
    add_connection_flags(parser)


def _configure_login(parser: ArgumentParser) -> None:
    _configure_credentials(parser)
    parser.add_argument(
        "--oidc",
        action="store_true",
        help="log in with the ID token of this CI job; -u NAMESPACE[+RULE] names whose rule",
    )
    parser.add_argument(
        "--oidc-token-file", default="", metavar="FILE", help="read the ID token from FILE instead, or from stdin (-)"
    )


def _configure_register(parser: ArgumentParser) -> None:
    _configure_credentials(parser)
    parser.add_argument("-e", "--email", default="", help="e-mail address")


def _login(arguments: Namespace) -> int:
    with connected(arguments) as client:
        host = _host(client, arguments)
        if arguments.oidc or arguments.oidc_token_file:
            _login_with_id_token(client, host, arguments)
            return 0
        credential = _credential_from_flags(arguments) or _prompt_for_credential(client, host, arguments)
        _check_and_save(client, host, credential, arguments)
    return 0


def _login_with_id_token(client: Client, host: str, arguments: Namespace) -> None:
    """Exchange an ID token, and store the short-lived password, which every engine can use."""
    if not arguments.username:
        raise CommandFailed("must provide --username with --oidc", "use -u NAMESPACE or -u NAMESPACE+RULE", 2)
    if arguments.password or arguments.password_stdin:
        raise CommandFailed("--oidc and a password are mutually exclusive", code=2)
    token = _read_id_token(arguments.oidc_token_file) if arguments.oidc_token_file else id_token_of_job(host)
    credential = exchange_id_token(client, host, arguments.username, token)
    path = client.credentials.save(host, credential, arguments.server, legacy=arguments.legacy_dockercfg)
    if arguments.json:
        print_json({"host": host, "username": credential.username, "file": str(path)})
    else:
        print("Login Succeeded")


def _read_id_token(file: str) -> str:
    if file == "-":
        return read_password_from_stdin().strip()
    try:
        return Path(file).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(f"cannot read the ID token: {error}", "check the file") from error


def _host(client: Client, arguments: Namespace) -> str:
    if not arguments.server:
        return client.configuration.default_registry
    target = key_target(arguments.server)
    if not is_host(target.partition("/")[0]):
        raise CommandFailed(f"{arguments.server!r} is not a server", "use HOST[:PORT]", 2)
    return target


def _credential_from_flags(arguments: Namespace) -> Credential | None:
    """Return the credential that the flags give, None if incomplete. Raises CommandFailed if they conflict."""
    if arguments.password_stdin:
        if arguments.password:
            raise CommandFailed("--password and --password-stdin are mutually exclusive", code=2)
        if not arguments.username:
            raise CommandFailed("must provide --username with --password-stdin", code=2)
        return Credential(arguments.username, read_password_from_stdin(), email=getattr(arguments, "email", ""))
    if arguments.password:
        print_message("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
        if arguments.username:
            return Credential(arguments.username, arguments.password, email=getattr(arguments, "email", ""))
    return None


def _prompt_for_credential(client: Client, host: str, arguments: Namespace) -> Credential:
    """Prompt for the missing values. If no account has the name, offer to create one and ask for confirmation."""
    require_interactive("log in interactively", "use --username NAME --password-stdin")
    username = arguments.username or ask("Username", client.credentials.find(host).username)
    if HubClient(client, host).username_status(username) is not UsernameStatus.FREE:
        return Credential(username, arguments.password or ask_password())
    print_message(f"There is no account named {username!r} at {host}.")
    if not confirm(f"Create an account with the name {username!r}?"):
        raise RemoteNotFound(f"not logged in: {host} has no account named {username!r}", "check the spelling")
    return _sign_up(client, host, Credential(username, ask_new_password(), email=ask("Email")))


def _register(arguments: Namespace) -> int:
    with connected(arguments) as client:
        host = _host(client, arguments)
        credential = _credential_from_flags(arguments)
        if credential is None:
            require_interactive("register interactively", "use --username NAME --email E --password-stdin")
            username = arguments.username or ask("Username")
            credential = Credential(username, ask_new_password(), email=arguments.email or ask("Email"))
        elif not credential.email:
            raise CommandFailed("must provide --email to register", code=2)
        _check_and_save(client, host, _sign_up(client, host, credential), arguments)
    return 0


def _sign_up(client: Client, host: str, credential: Credential) -> Credential:
    HubClient(client, host).sign_up(credential.username, credential.password, credential.email)
    print_message(f"Account {credential.username!r} created at {host}.")
    return credential


def _check_and_save(client: Client, host: str, credential: Credential, arguments: Namespace) -> None:
    """Check the credential at the registry, and store it."""
    accepted = check_credential(client, host, credential)
    if arguments.legacy_dockercfg:
        accepted = credential  # that file format cannot store tokens
    path = client.credentials.save(host, accepted, arguments.server, legacy=arguments.legacy_dockercfg)
    if arguments.json:
        print_json({"host": host, "username": credential.username, "file": str(path)})
        return
    if accepted.password and is_interactive():
        print_message(f"WARNING! Your password is stored unencrypted in {path}.")
    print("Login Succeeded")


def _configure_logout(parser: ArgumentParser) -> None:
    parser.add_argument(
        "server", nargs="?", default="", metavar="SERVER", help="host of the registry (default: the default registry)"
    )
    add_json_flag(parser)
    parser.set_defaults(plain_http=False)


def _logout(arguments: Namespace) -> int:
    with connected(arguments) as client:
        host = _host(client, arguments)
        removed = client.credentials.remove(host)
    if arguments.json:
        print_json({"host": host, "removed": removed})
    else:
        print(f"Removing login credentials for {host}" if removed else f"Not logged in to {host}")
    return 0


login = Command(
    _configure_login,
    _login,
    """
hythe login
hythe login registry.example.com
hythe login -u ann --password-stdin registry.example.com < password-file
hythe login --oidc -u acme registry.example.com
hythe login --legacy-dockercfg https://my-registry.example.com
""",
)
logout = Command(_configure_logout, _logout, "hythe logout\nhythe logout registry.example.com")
register = Command(
    _configure_register,
    _register,
    """
hythe register registry.example.com
hythe register -u ann -e ann@example.com --password-stdin registry.example.com < password-file
""",
)
