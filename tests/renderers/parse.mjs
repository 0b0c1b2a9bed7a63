// Reads one diagram a line (a JSON string) and writes one JSON line for each: the labels that Mermaid's own parser
// understood, or its error. The folder with node_modules is the only argument.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const require = createRequire(pathToFileURL(`${process.argv[2]}/`));
const { JSDOM } = require("jsdom");
const { window } = new JSDOM("<!DOCTYPE html><body></body>");
globalThis.window = window;
globalThis.document = window.document;

const entry = pathToFileURL(`${process.argv[2]}/node_modules/mermaid/dist/mermaid.core.mjs`);
const { default: mermaid } = await import(entry);
mermaid.initialize({ startOnLoad: false });

// Mermaid keeps `#35;` as a placeholder until it draws, and lets the browser decode it.
const decoded = (text) => {
  const holder = window.document.createElement("textarea");
  holder.innerHTML = (text ?? "").replace(/ﬂ°°/g, "&#").replace(/ﬂ°/g, "&").replace(/¶ß/g, ";");
  return holder.value;
};

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    const text = JSON.parse(line);
    await mermaid.parse(text);
    const { db } = await mermaid.mermaidAPI.getDiagramFromText(text);
    answer = {
      labels: Object.fromEntries([...db.getVertices()].map(([id, vertex]) => [id, decoded(vertex.text)])),
      classes: Object.fromEntries([...db.getVertices()].map(([id, vertex]) => [id, vertex.classes])),
      edges: db.getEdges().map((edge) => [edge.start, edge.end, decoded(edge.text), edge.stroke]),
    };
  } catch (error) {
    answer = { error: String(error.message ?? error) };
  }
  console.log(JSON.stringify(answer));
}
