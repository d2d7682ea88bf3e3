/**
 * What each of the page's scripts may use: what the oldest browsers have in which it has to work.
 */

import { createRequire } from "node:module";

import tscompat from "@koddsson/eslint-plugin-tscompat";
import parser from "@typescript-eslint/parser";

import { TABLE } from "./oldest.js";

const STATIC = "cometd_chat/web/static";

/** What browserslist calls them, and others of the same engine. */
const SAME = {
  chrome: ["chrome", "edge"],
  firefox: ["firefox"],
  safari: ["safari", "ios_saf"],
  safari_ios: ["ios_saf"],
};

const data = createRequire(import.meta.url)("@mdn/browser-compat-data");

/** What a class has itself, such as `AbortSignal.any`: the other rule does not see it. */
const statics = {
  meta: {
    type: "problem",
    schema: [{ type: "object" }],
    messages: { newer: "{{ name }} is newer than {{ browser }} {{ version }}" },
  },
  create(context) {
    const [oldest] = context.options;
    return {
      MemberExpression(node) {
        const name = `${node.object.name}.${node.property.name}`;
        const support = data.api[node.object.name]?.[`${node.property.name}_static`]?.__compat.support;
        if (!support || node.computed) return;
        for (const [browser, version] of Object.entries(oldest)) {
          const { version_added: since } = [support[browser]].flat()[0];
          if (since && since !== "preview" && Number.parseFloat(since.replace("≤", "")) <= version) continue;
          context.report({ node, messageId: "newer", data: { name, browser, version } });
        }
      },
    };
  },
};

const plugins = { tscompat, compat: { rules: { statics } } };

/** What the first rule calls browsers. */
const browserslist = (oldest) =>
  Object.entries(oldest).flatMap(([name, version]) => SAME[name].map((same) => `${same} ${version}`));

export default TABLE.map(({ files, oldest }) => ({
  files: files.map((name) => `${STATIC}/${name}.js`),
  languageOptions: {
    parser,
    parserOptions: { project: "tsconfig.json", tsconfigRootDir: import.meta.dirname },
  },
  plugins,
  rules: {
    "tscompat/tscompat": ["error", { browserslist: browserslist(oldest) }],
    "compat/statics": ["error", oldest],
  },
}));
