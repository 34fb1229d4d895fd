// Builds latentsk/explorer/assets/scatterplot.min.js and the licences of what is in it.

import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const ASSETS = "../latentsk/explorer/assets/";

const result = await build({
  entryPoints: ["bundle.js"],
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2022",
  legalComments: "none",
  write: false,
});

// regl-scatterplot is published with its own dependencies inside, so that the inputs do
// not name them: everything installed counts, but for the bundler.
const entries = readdirSync("node_modules").flatMap((name) =>
  name.startsWith("@") ? readdirSync(`node_modules/${name}`).map((inner) => `${name}/${inner}`) : [name]);
const packages = entries.filter((name) => !name.startsWith(".") && !name.includes("esbuild"));

const names = [], licences = [];
for (const name of packages.sort()) {
  const folder = `node_modules/${name}/`;
  const { version, license } = JSON.parse(readFileSync(`${folder}package.json`, "utf8"));
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
  names.push(`${name} ${version}`);
  licences.push(`${name} ${version} (${license})\n\n${readFileSync(folder + file, "utf8").trim()}\n`);
}

// Within regl-scatterplot's sources, as they say: KDBush, under the licence that earcut has.
const earcut = readFileSync("node_modules/earcut/LICENSE", "utf8").trim();
names.push("KDBush 4.0.2");
licences.push(`KDBush 4.0.2 (ISC)\n\n${earcut.replace(/Copyright .*/, "Copyright (c) 2018, Vladimir Agafonkin")}\n`);

const code = result.outputFiles[0].text;
if (/<\/script|<!--/i.test(code)) throw new Error("The bundle would end its script element.");
writeFileSync(`${ASSETS}scatterplot.min.js`, `/* ${names.join(", ")}; see scatterplot.licenses.txt */\n${code}`);
writeFileSync(
  `${ASSETS}scatterplot.licenses.txt`,
  `scatterplot.min.js holds these packages:\n\n${licences.join(`\n${"-".repeat(72)}\n\n`)}`,
);
