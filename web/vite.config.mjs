import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { gzipSync } from "node:zlib";
import subsetFont from "subset-font";
import { defineConfig } from "vite";

const FONT = "virtual:inter.css";

/** Cuts Inter to the characters and weights that the page uses. */
function font() {
  return {
    name: "font",
    async load(id) {
      if (!id.endsWith("/inter.woff2?cut")) return null;
      const path = createRequire(import.meta.url).resolve("@fontsource-variable/inter/files/inter-latin-wght-normal.woff2");
      const printable = Array.from({ length: 95 }, (_, index) => String.fromCharCode(32 + index)).join("");
      const latin = Array.from({ length: 96 }, (_, index) => String.fromCharCode(160 + index)).join("");
      const cut = await subsetFont(readFileSync(path), `${printable}${latin}–—−…’“”→←↑↓×·\u2009\u202f`, {
        targetFormat: "woff2",
        variationAxes: { wght: { min: 400, max: 600, default: 400 } },
      });
      const reference = this.emitFile({ type: "asset", name: "inter.woff2", source: cut });
      return `export default import.meta.ROLLUP_FILE_URL_${reference};`;
    },
    resolveId(id) {
      return id.endsWith("inter.woff2?cut") ? `\0${FONT}/inter.woff2?cut` : null;
    },
  };
}

/** Adds a compressed copy of each text file: the program sends it as it is. */
function compress() {
  return {
    name: "compress",
    generateBundle: {
      order: "post",
      handler(_, bundle) {
        for (const file of Object.values(bundle)) {
          const source = file.type === "chunk" ? file.code : file.source;
          if (file.fileName.endsWith(".woff2")) continue;
          this.emitFile({ type: "asset", fileName: `${file.fileName}.gz`, source: gzipSync(source, { level: 9 }) });
        }
      },
    },
  };
}

export default defineConfig({
  plugins: [font(), compress()],
  base: "/",
  build: { target: "es2022", assetsInlineLimit: 0, modulePreload: { polyfill: false }, reportCompressedSize: true },
  server: { proxy: { "/api": process.env.SPINDLE ?? "http://127.0.0.1:8080" } },
  test: { include: ["tests/unit/**/*.test.ts"] },
});
