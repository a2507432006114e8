// Passkeys: runs the WebAuthn ceremony of a form with the server's options, then submits the browser's response.
"use strict";

const decode = (text) => {
  const plain = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(plain, (character) => character.charCodeAt(0));
};

const encode = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer)))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");

const withBytes = (list) => (list ?? []).map((each) => ({ ...each, id: decode(each.id) }));

async function create(options) {
  const made = await navigator.credentials.create({
    publicKey: {
      ...options,
      challenge: decode(options.challenge),
      user: { ...options.user, id: decode(options.user.id) },
      excludeCredentials: withBytes(options.excludeCredentials),
    },
  });
  return {
    clientDataJSON: encode(made.response.clientDataJSON),
    attestationObject: encode(made.response.attestationObject),
    transports: made.response.getTransports?.() ?? [],
    id: made.id,
  };
}

async function get(options) {
  const used = await navigator.credentials.get({
    publicKey: {
      ...options,
      challenge: decode(options.challenge),
      allowCredentials: withBytes(options.allowCredentials),
    },
  });
  const { clientDataJSON, authenticatorData, signature, userHandle } = used.response;
  return {
    clientDataJSON: encode(clientDataJSON),
    authenticatorData: encode(authenticatorData),
    signature: encode(signature),
    userHandle: userHandle ? encode(userHandle) : null,
    id: used.id,
  };
}

const reasons = {
  NotAllowedError: "It was cancelled, or took too long. Try again.",
  InvalidStateError: "This device already has a passkey of your account.",
  SecurityError: "Browsers accept passkeys only for host names, not for IP addresses.",
};

for (const form of document.querySelectorAll("form[data-passkey]")) {
  const note = form.querySelector("[data-passkey-note]");
  form.querySelector("[data-passkey-off]").remove();
  const show = (text) => {
    note.textContent = text;
    note.hidden = false;
  };
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!window.PublicKeyCredential) {
      show("This browser has no passkeys here. They need HTTPS and a recent browser.");
      return;
    }
    note.hidden = true;
    try {
      const ceremony = form.dataset.passkey === "create" ? create : get;
      const { id, ...response } = await ceremony(JSON.parse(form.dataset.options));
      form.elements.credential.value = JSON.stringify({ id, rawId: id, type: "public-key", response });
      form.submit();
    } catch (error) {
      show(reasons[error.name] ?? `The passkey did not work: ${error.message}`);
    }
  });
}
