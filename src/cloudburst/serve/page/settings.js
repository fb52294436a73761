// Language and colours of this browser; limits, checks and addresses of the server.

import { call, get } from "./api.js";
import { button, h, icon, segments } from "./dom.js";
import { command } from "./parts.js";
import { problemBox } from "./problems.js";
import { server } from "./server.js";
import { bytes, cap, chooseLanguage, language, named, number, said, t } from "./text.js";

export const settings = { checks: null, isChecking: false, problem: null, changed: () => {} };

export async function check() {
  settings.isChecking = true;
  settings.changed();
  try {
    Object.assign(settings, { checks: (await get("api/checks")).checks, problem: null });
  } catch (problem) {
    settings.problem = problem;
  }
  settings.isChecking = false;
  settings.changed();
}

export const theme = () => document.documentElement.dataset.theme ?? "";

export function chooseTheme(value) {
  document.documentElement.dataset.theme = value;
  localStorage.setItem("theme", value);
  settings.changed();
}

export function settingsView() {
  const { about } = server, { checks, isChecking, problem } = settings;
  const here = new URL(".", location.href).href;
  return [
    h("div", { class: "head" }, h("div", null, h("h1", null, t("settings")))),
    h("div", { class: "split" },
      h("div", { class: "stack" },
        h("div", { class: "card" }, h("div", { class: "row between" }, h("h2", null, t("checks")), button(t("check.again"), check, { symbol: "again", disabled: isChecking })),
          problem && problemBox(problem),
          checks === null ? h("p", { class: "muted", role: "status" }, isChecking ? t("checking") : "") : h("ul", { class: "checks" }, checks.map((one, place) => h("li", { key: `${one.code}-${place}` }, h("span", { class: one.state === "ok" ? "ok" : one.state === "warning" ? "warning" : "bad" }, icon(one.state === "ok" ? "check" : "warn")), h("span", null, h("span", { class: "sr" }, `${t(`check.${one.state}`)} `), said(one.text), one.fix && h("code", { class: "fix" }, one.fix)))))),
        about && h("div", { class: "card" }, h("h2", null, t("limits")), h("dl", { class: "kv" }, limitsOf(about.limits).map(([name, value]) => h("div", { key: name }, h("dt", null, named("limit", name)), h("dd", null, value))))),
        h("div", { class: "card stack tight" }, h("h2", null, t("access")), h("p", { class: "muted" }, about?.key ? t("access.key") : t("access.local")), command(`${here}api`, t("copy.api")), command(`${here}mcp`, t("copy.mcp")), h("p", { class: "small" }, h("a", { href: "docs" }, t("all.requests"))),
          about?.key && h("div", { class: "row" }, button(t("forget.key"), async () => { await call("DELETE", "session"); location.reload(); })))),
      h("div", { class: "stack" },
        h("div", { class: "card stack" }, h("h2", null, t("display")),
          h("div", { class: "field" }, h("span", { class: "label" }, t("colours")), segments("theme", t("colours"), [["", t("theme.system")], ["light", t("theme.light")], ["dark", t("theme.dark")]], theme(), chooseTheme)),
          h("div", { class: "field" }, h("span", { class: "label" }, t("language")), segments("language", t("language"), [["en", "English"], ["zh", "中文"]], language, code => { chooseLanguage(code); settings.changed(); }))),
        about && h("div", { class: "card stack tight" }, h("h2", null, t("places")), h("ul", { class: "stack tight" }, about.places.map(place => h("li", { key: place.place }, h("b", null, named("place", place.place)), " ", h("span", { class: "muted" }, place.available ? (place.workers === null ? t("place.ready") : t("place.workers", { n: place.workers })) : said(place.reason)))))),
        about && h("div", { class: "card stack tight" }, h("h2", null, t("disk")), h("p", { class: "muted" }, t("disk.free", { size: bytes(about.disk_free) }))),
        about && h("div", { class: "card stack tight" }, h("h2", null, t("about.title")), h("p", { class: "muted" }, t("about.text", { version: about.version }))))),
  ];
}

function limitsOf(limits) {
  const shown = { scenes: number, owner_jobs: number, file_bytes: bytes, request_bytes: bytes, max_usd: cap, owner_usd: cap };
  return Object.entries(shown).filter(([name]) => limits[name] != null).map(([name, format]) => [name, format(limits[name])]);
}
