// Compiles the test contracts of tests/contracts, each X.sol into an X.json beside it.
//
// The output depends on the source and the pinned compiler alone (no paths, no metadata hash), so that
// `--check` can compare it byte for byte with the committed file.
import { readFileSync, writeFileSync, existsSync } from "node:fs";
import solc from "solc";

const HELP = `Usage: node compile-contracts.mjs [--check]

Writes tests/contracts/*.json. With --check nothing is written; it exits 1 if a file is not what its source compiles to.`;

const NAMES = ["Token", "Router"];
const FOLDER = new URL("../contracts/", import.meta.url);

const SETTINGS = {
  // The oldest rules that the tests' chains all follow.
  evmVersion: "paris",
  optimizer: { enabled: true, runs: 200 },
  metadata: { bytecodeHash: "none", appendCBOR: false },
  outputSelection: { "*": { "*": ["abi", "evm.bytecode.object", "evm.methodIdentifiers"] } },
};

function compile(names) {
  const sources = Object.fromEntries(
    names.map((name) => [`${name}.sol`, { content: readFileSync(new URL(`${name}.sol`, FOLDER), "utf8") }]),
  );
  const input = { language: "Solidity", sources, settings: SETTINGS };
  const output = JSON.parse(solc.compile(JSON.stringify(input)));
  // A warning is refused like an error: test contracts are small enough to have none.
  if (output.errors?.length) {
    throw new Error(output.errors.map((error) => error.formattedMessage).join("\n"));
  }
  return output.contracts;
}

function artifact(name, contracts) {
  const { abi, evm } = contracts[`${name}.sol`][name];
  const compiled = {
    contract: name,
    source: `${name}.sol`,
    compiler: solc.version(),
    selectors: Object.fromEntries(
      Object.entries(evm.methodIdentifiers).map(([signature, selector]) => [signature, `0x${selector}`]),
    ),
    abi,
    bytecode: `0x${evm.bytecode.object}`,
  };
  return `${JSON.stringify(compiled, null, 2)}\n`;
}

function isCurrent(name, text) {
  const file = new URL(`${name}.json`, FOLDER);
  return existsSync(file) && readFileSync(file, "utf8") === text;
}

function main(args) {
  if (args.some((arg) => arg !== "--check")) {
    console.log(HELP);
    return args.includes("--help") ? 0 : 2;
  }
  const contracts = compile(NAMES);
  const stale = NAMES.filter((name) => !isCurrent(name, artifact(name, contracts)));
  if (args.includes("--check")) {
    for (const name of stale) {
      console.error(`tests/contracts/${name}.json is not what ${name}.sol compiles to; run: node tests/setup/compile-contracts.mjs`);
    }
    return stale.length === 0 ? 0 : 1;
  }
  for (const name of stale) {
    writeFileSync(new URL(`${name}.json`, FOLDER), artifact(name, contracts));
  }
  return 0;
}

process.exitCode = main(process.argv.slice(2));
