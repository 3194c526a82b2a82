// SPDX-License-Identifier: Apache-2.0
// Makes ui/dist out of the sources: what the daemon carries. The same sources make the same bytes; of which sources it is made stands in
// dist/SOURCES, so that it shows when it is stale, without Node.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const MOST = 120 * 1024; // bytes, compressed, of all

const BANNER = "/* SPDX-License-Identifier: Apache-2.0 (with Preact and uPlot, MIT: licenses.txt) */";

const walk = (path) => (statSync(path).isDirectory() ? readdirSync(path).flatMap((name) => walk(`${path}/${name}`)) : [path]);
const sources = [".npmrc", "build.mjs", "icon.svg", "index.html", "package-lock.json", "package.json", "tsconfig.json", ...walk("src")].sort();

const made = await build({
  entryPoints: { app: "src/main.tsx", style: "src/style.css" },
  bundle: true, minify: true, write: false, outdir: "dist", target: ["es2020"], format: "esm",
  jsx: "automatic", jsxImportSource: "preact", legalComments: "none", banner: { js: BANNER, css: BANNER }, charset: "utf8", logLevel: "warning",
});
const output = Object.fromEntries(made.outputFiles.map((file) => [file.path.split("/").pop(), file.contents]));
output["index.html"] = readFileSync("index.html", "utf8").replace(/\n\s*/g, "\n");
output["icon.svg"] = readFileSync("icon.svg");
output["licenses.txt"] = ["preact", "uplot"].map((name) => `${name}\n\n${readFileSync(`node_modules/${name}/LICENSE`, "utf8")}`).join("\n\n");
output["SOURCES"] = sources.map((path) => `${createHash("sha256").update(readFileSync(path)).digest("hex")}  ${path}\n`).join("");

rmSync("dist", { recursive: true, force: true });
mkdirSync("dist");
for (const [name, bytes] of Object.entries(output)) writeFileSync(`dist/${name}`, bytes);

const size = ["index.html", "app.js", "style.css"].reduce((sum, name) => sum + gzipSync(output[name], { level: 9 }).length, 0);
console.log(`ui: ${(size / 1024).toFixed(1)} KiB compressed`);
if (size > MOST) throw new Error(`the pages have ${size} bytes, compressed; ${MOST} are allowed`);
