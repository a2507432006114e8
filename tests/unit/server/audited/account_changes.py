"""Changes of accounts: sign-in, second factors, e-mail addresses, tokens and robots."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pyotp
import pytest
from tests.unit.server.audited.world import ADDRESS, PARTY, PASSWORD, Steps, World, change

from hythe.hub.access.actions import HubAction
from hythe.hub.accounts.email_addresses import EmailChange
from hythe.hub.accounts.user import Visibility
from hythe.hub.accounts.users import NewUser, UserChange
from hythe.hub.actor import ANONYMOUS, HubActor, Right
from hythe.hub.errors import SecondFactorNeeded
from hythe.hub.tokens.leaked_tokens import LeakedToken, LeakReport
from hythe.hub.tokens.personal_tokens import NewPersonalToken, PersonalTokenChange
from hythe.hub.tokens.robots import NewRobot, RobotChange
from hythe.hub.tokens.token_exchange import ExchangeRequest
from hythe.hub.tokens.token_terms import Rotation
from hythe.hub.tokens.trust_rules import NewTrustRule, TrustRuleChange

READ = (Right.READ,)
LINK = "link from an e-mail"


@change("users.create", HubAction.SIGN_UP, "zoe", namespace="zoe", by="zoe", credential="")
async def sign_up(world: World) -> Steps:
    yield
    await world.hub.users.create(ANONYMOUS, NewUser("zoe", "zoe@example.com", PASSWORD), ADDRESS)


@change("users.change_me", HubAction.CHANGE_ACCOUNT, "ann", namespace="ann")
async def change_account(world: World) -> Steps:
    yield
    await world.hub.users.change_me(world.ann, UserChange(default_visibility=Visibility.PRIVATE))


@change("users.set_password", HubAction.SET_PASSWORD, "ann", namespace="ann")
async def set_password(world: World) -> Steps:
    yield
    await world.hub.users.set_password(world.ann, "ann", "another horse battery", PASSWORD)


@change("sessions.start", HubAction.SIGN_IN, "ann", namespace="ann", credential="password and code")
async def start_session(world: World) -> Steps:
    app = await world.app(world.ann)
    actor = await world.hub.pending_sign_ins.by_code(await pending(world), next_code(app), ADDRESS)
    yield
    await world.hub.sessions.start(actor, ADDRESS)


def next_code(app: pyotp.TOTP) -> str:
    """The code after the one that was used to set up the app."""
    return str(app.at(datetime.now(UTC) + timedelta(seconds=app.interval)))


async def pending(world: World) -> str:
    """The state of Ann's sign-in after the right password."""
    with pytest.raises(SecondFactorNeeded) as caught:
        await world.hub.sessions.check_password("ann", PASSWORD, ADDRESS)
    return caught.value.state


@change("sessions.sign_in", HubAction.SIGN_IN, "ann", namespace="ann", credential="password")
async def sign_in(world: World) -> Steps:
    yield
    await world.hub.sessions.sign_in("ann", PASSWORD, ADDRESS)


@change("sessions.bearer", HubAction.SIGN_IN, "ann", namespace="ann", credential="password")
async def sign_in_for_a_token(world: World) -> Steps:
    yield
    await world.hub.sessions.bearer("ann", PASSWORD, ADDRESS)


@change("sessions.sign_out", HubAction.SIGN_OUT, "ann", namespace="ann")
async def sign_out(world: World) -> Steps:
    started = await world.hub.sessions.sign_in("ann", PASSWORD, ADDRESS)
    yield
    await world.hub.sessions.sign_out(started.token, ADDRESS)


@change("sessions.revoke", HubAction.SIGN_OUT, "ann", namespace="ann")
async def revoke_session(world: World) -> Steps:
    started = await world.hub.sessions.sign_in("ann", PASSWORD, ADDRESS)
    yield
    await world.hub.sessions.revoke(world.ann, started.actor.session_id)


@change("sessions.revoke_others", HubAction.SIGN_OUT, "ann", namespace="ann")
async def revoke_other_sessions(world: World) -> Steps:
    await world.hub.sessions.sign_in("ann", PASSWORD, ADDRESS)
    yield
    assert await world.hub.sessions.revoke_others(world.ann) == 1


@change("confirmations.by_password", HubAction.CONFIRM_SESSION, "ann", namespace="ann")
async def confirm_by_password(world: World) -> Steps:
    yield
    await world.hub.confirmations.by_password(world.ann, PASSWORD)


@change("confirmations.by_code", HubAction.CONFIRM_SESSION, "ann", namespace="ann")
async def confirm_by_code(world: World) -> Steps:
    app = await world.app(world.ann)
    yield
    await world.hub.confirmations.by_code(world.ann, next_code(app), ADDRESS)


@change("confirmations.by_passkey", HubAction.CONFIRM_SESSION, "ann", namespace="ann")
async def confirm_by_passkey(world: World) -> Steps:
    await add_passkey(world)
    response = world.key.get(plain(await world.hub.confirmations.passkey_options(world.ann, PARTY)))
    yield
    await world.hub.confirmations.by_passkey(world.ann, PARTY, json.dumps(response))


def plain(options: Any) -> dict[str, Any]:
    """Options as a browser gets them."""
    found: dict[str, Any] = json.loads(msgspec.json.encode(options))
    return found


async def add_passkey(world: World) -> int:
    """Add a passkey to Ann's account; return its id."""
    options = await world.hub.second_factors.passkey_options(world.ann, PARTY)
    response = json.dumps(world.key.create(plain(options)))
    added, _ = await world.hub.second_factors.add_passkey(world.ann, PARTY, "laptop", response)
    return int(added.id)


@change("second_factors.activate_app", HubAction.ADD_SECOND_FACTOR, "ann", namespace="ann")
async def add_app(world: World) -> Steps:
    yield
    await world.app(world.ann)


@change("second_factors.remove_app", HubAction.REMOVE_SECOND_FACTOR, "ann", namespace="ann")
async def remove_app(world: World) -> Steps:
    await world.app(world.ann)
    yield
    await world.hub.second_factors.remove_app(world.ann)


@change("second_factors.new_recovery_codes", HubAction.REPLACE_RECOVERY_CODES, "ann", namespace="ann")
async def replace_recovery_codes(world: World) -> Steps:
    await world.app(world.ann)
    yield
    await world.hub.second_factors.new_recovery_codes(world.ann)


@change("second_factors.add_passkey", HubAction.ADD_SECOND_FACTOR, "ann", namespace="ann")
async def new_passkey(world: World) -> Steps:
    yield
    await add_passkey(world)


@change("second_factors.rename_passkey", HubAction.RENAME_SECOND_FACTOR, "ann", namespace="ann")
async def rename_passkey(world: World) -> Steps:
    passkey_id = await add_passkey(world)
    yield
    await world.hub.second_factors.rename_passkey(world.ann, passkey_id, "phone")


@change("second_factors.remove_passkey", HubAction.REMOVE_SECOND_FACTOR, "ann", namespace="ann")
async def remove_passkey(world: World) -> Steps:
    passkey_id = await add_passkey(world)
    yield
    await world.hub.second_factors.remove_passkey(world.ann, passkey_id)


@change("emails.request_change", HubAction.REQUEST_EMAIL_CHANGE, "ann", namespace="ann")
async def request_email_change(world: World) -> Steps:
    yield
    await world.hub.emails.request_change(world.ann, EmailChange("new@example.com", PASSWORD))


@change("emails.confirm", HubAction.CONFIRM_EMAIL, "ann", namespace="ann", credential=LINK)
async def confirm_email(world: World) -> Steps:
    await world.hub.emails.request_change(world.ann, EmailChange("new@example.com", PASSWORD))
    secret = await world.secret("new@example.com", "/confirm-email")
    yield
    await world.hub.emails.confirm(secret, ADDRESS)


@change("emails.undo", HubAction.RESTORE_EMAIL, "ann", namespace="ann", credential=LINK)
async def restore_email(world: World) -> Steps:
    await world.hub.emails.request_change(world.ann, EmailChange("new@example.com", PASSWORD))
    await world.hub.emails.confirm(await world.secret("new@example.com", "/confirm-email"), ADDRESS)
    secret = await world.secret("ann@example.com", "/confirm-email/undo")
    yield
    await world.hub.emails.undo(secret, ADDRESS)


@change("password_resets.reset", HubAction.RESET_FORGOTTEN_PASSWORD, "ann", namespace="ann", credential=LINK)
async def reset_password(world: World) -> Steps:
    await world.hub.password_resets.request("ann", ADDRESS)
    await world.hub.password_resets.send()
    secret = await world.secret("ann@example.com", "/reset-password")
    yield
    await world.hub.password_resets.reset(secret, "another horse battery", ADDRESS)


async def token(world: World) -> tuple[str, int]:
    """Create a personal token; return it and its id."""
    secret, created = await world.hub.personal_tokens.create(world.ann, NewPersonalToken("ci", READ))
    return secret, created.id


@change("personal_tokens.create", HubAction.CREATE_TOKEN, "ci", namespace="ann")
async def create_token(world: World) -> Steps:
    yield
    await token(world)


@change("personal_tokens.change", HubAction.CHANGE_TOKEN, "cd", namespace="ann")
async def change_token(world: World) -> Steps:
    _, token_id = await token(world)
    yield
    await world.hub.personal_tokens.change(world.ann, token_id, PersonalTokenChange(name="cd"))


@change("personal_tokens.rotate", HubAction.ROTATE_TOKEN, "ci", namespace="ann")
async def rotate_token(world: World) -> Steps:
    _, token_id = await token(world)
    yield
    await world.hub.personal_tokens.rotate(world.ann, token_id, Rotation())


@change("personal_tokens.delete", HubAction.REVOKE_TOKEN, "ci", namespace="ann")
async def revoke_token(world: World) -> Steps:
    _, token_id = await token(world)
    yield
    await world.hub.personal_tokens.delete(world.ann, token_id)


@change("leaked_tokens.report", HubAction.REPORT_TOKEN, "ci", namespace="ann", by="", credential="")
async def report_token(world: World) -> Steps:
    secret, _ = await token(world)
    yield
    await world.hub.leaked_tokens.report(HubActor(address=ADDRESS), LeakReport((LeakedToken(secret),)))


async def robot(world: World) -> None:
    """Create a robot of the organization."""
    await world.hub.robots.create(world.ann, "acme", NewRobot("ci", READ))


@change("robots.create", HubAction.CREATE_ROBOT, "acme+ci", namespace="acme")
async def create_robot(world: World) -> Steps:
    yield
    await robot(world)


@change("robots.change", HubAction.CHANGE_ROBOT, "acme+ci", namespace="acme")
async def change_robot(world: World) -> Steps:
    await robot(world)
    yield
    await world.hub.robots.change(world.ann, "acme", "ci", RobotChange(rights=(Right.READ, Right.WRITE)))


@change("robots.rotate", HubAction.ROTATE_ROBOT, "acme+ci", namespace="acme")
async def rotate_robot(world: World) -> Steps:
    await robot(world)
    yield
    await world.hub.robots.rotate(world.ann, "acme", "ci", Rotation())


@change("robots.delete", HubAction.DELETE_ROBOT, "acme+ci", namespace="acme")
async def delete_robot(world: World) -> Steps:
    await robot(world)
    yield
    await world.hub.robots.delete(world.ann, "acme", "ci")


async def trust_rule(world: World) -> None:
    """Trust the jobs of a repository at the issuer."""
    new = NewTrustRule(name="deploy", issuer=world.issuer.url, subject="repo:acme/web:*", rights=READ)
    await world.hub.trust_rules.create(world.ann, "acme", new)


@change("trust_rules.create", HubAction.CREATE_TRUST_RULE, "acme+deploy", namespace="acme")
async def create_trust_rule(world: World) -> Steps:
    yield
    await trust_rule(world)


@change("trust_rules.change", HubAction.CHANGE_TRUST_RULE, "acme+deploy", namespace="acme")
async def change_trust_rule(world: World) -> Steps:
    await trust_rule(world)
    yield
    await world.hub.trust_rules.change(world.ann, "acme", "deploy", TrustRuleChange(lifetime_minutes=5))


@change("trust_rules.delete", HubAction.DELETE_TRUST_RULE, "acme+deploy", namespace="acme")
async def delete_trust_rule(world: World) -> Steps:
    await trust_rule(world)
    yield
    await world.hub.trust_rules.delete(world.ann, "acme", "deploy")


@change(
    "token_exchange.exchange",
    HubAction.EXCHANGE_ID_TOKEN,
    "acme+deploy",
    namespace="acme",
    by="acme+deploy",
    credential="ID token of ISSUER (repo:acme/web:ref:refs/heads/main)",
)
async def exchange_id_token(world: World) -> Steps:
    await trust_rule(world)
    request = ExchangeRequest("acme", world.issuer.id_token(PARTY.origin))
    yield
    await world.hub.token_exchange.exchange(request, ADDRESS)
