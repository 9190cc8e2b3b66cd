// A second opinion on webhook deliveries: verifies what webhook_receiver.py accepted with the Node library of
// Standard Webhooks, which merchants use more than the Python one.
import { readFileSync } from "node:fs";
import { Webhook } from "standardwebhooks";

const HELP = "Usage: node verify-deliveries.mjs DELIVERIES.jsonl SECRET…\n\nExits 1 at the first delivery that no secret verifies.";

function verified(delivery, secret) {
  const headers = {
    "webhook-id": delivery.id,
    "webhook-timestamp": delivery.timestamp,
    "webhook-signature": delivery.signature,
  };
  try {
    new Webhook(secret).verify(delivery.body, headers);
    return true;
  } catch {
    return false;
  }
}

const [file, ...secrets] = process.argv.slice(2);
if (file === undefined || secrets.length === 0) {
  console.error(HELP);
  process.exit(2);
}
const deliveries = readFileSync(file, "utf8").split("\n").filter(Boolean).map((line) => JSON.parse(line));
const refused = deliveries.find((delivery) => !secrets.some((secret) => verified(delivery, secret)));
if (refused !== undefined) {
  console.error(`delivery ${refused.id} is not verified by any of the secrets`);
  process.exit(1);
}
console.log(`${deliveries.length} deliveries verified`);
