// A real OpenID provider for tests: node oidc_provider.mjs PORT CONFIGURATION.json
//
// The configuration has "clients" (of oidc-provider) and "users": sub -> claims. It is read again for each user. Its own
// pages ask for a login (any password) and for consent.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [port, file, modules] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const { Provider } = await import(pathToFileURL(require.resolve("oidc-provider")).href);
const configuration = () => JSON.parse(readFileSync(file, "utf8"));

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: configuration().clients,
  cookies: { keys: ["only for tests"] },
  claims: {
    openid: ["sub"],
    profile: ["preferred_username", "groups"],
    email: ["email", "email_verified"],
  },
  conformIdTokenClaims: configuration().claims_in_id_token !== true,
  pkce: { required: () => true },
  findAccount: (_context, sub) => {
    const claims = configuration().users[sub];
    return claims && { accountId: sub, claims: () => ({ sub, ...claims }) };
  },
});
provider.listen(Number(port), "127.0.0.1");
