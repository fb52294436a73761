// Texts, numbers, money, times and sizes in the reader's language.

import { STRINGS } from "./strings.js";

const LANGUAGES = { en: "en", zh: "zh-CN" };

/** Return what this browser has kept, or keep another value; some pages from a disk may keep nothing. */
export function kept(name, value) {
  try {
    if (value !== undefined) localStorage.setItem(name, value);
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

export let language = kept("language") ?? (navigator.language.startsWith("zh") ? "zh" : "en");

/** Choose the language of the page, `en` or `zh`, for this browser. */
export function chooseLanguage(code) {
  language = code;
  kept("language", code);
  document.documentElement.lang = LANGUAGES[code];
}

/** Return the text of a key with its placeholders filled. `n` chooses between `one|more`. */
export function t(key, values = {}) {
  const texts = STRINGS[key];
  if (texts === undefined) return key;
  const forms = texts[language === "zh" ? 1 : 0].split("|");
  const form = forms.length > 1 && new Intl.PluralRules("en").select(Number(values.n)) === "one" ? forms[0] : forms.at(-1);
  return form.replace(/\{(\w+)\}/g, (_, name) => (typeof values[name] === "number" ? number(values[name]) : values[name] ?? ""));
}

/** Return the text of a key, or a readable form of the name if there is none. */
export function named(prefix, name) {
  const key = `${prefix}.${name}`;
  return key in STRINGS ? t(key) : String(name).replaceAll("_", " ");
}

const formats = new Map(); // making one takes 50 times as long as using it

function format(options) {
  const key = language + JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new Intl.NumberFormat(LANGUAGES[language], options));
  return formats.get(key);
}

export const number = (value, digits = 2) => format({ maximumFractionDigits: digits }).format(value);
export const percent = share => format({ style: "percent", maximumFractionDigits: 0 }).format(share);

const dollars = (value, options) => format({ style: "currency", currency: "USD", currencyDisplay: "narrowSymbol", ...options }).format(value);

/** Return a sentence of the server, in the language of the page if it is known. */
export const said = text => (`said.${text}` in STRINGS ? t(`said.${text}`) : text);

/** Return money that was spent, with four decimals. */
export const bill = usd => dollars(usd, { minimumFractionDigits: 4, maximumFractionDigits: 4 });
/** Return money that is expected, with two significant figures. */
export const forecast = usd => (Number(usd) === 0 ? t("free") : dollars(usd, { minimumSignificantDigits: 2, maximumSignificantDigits: 2 }));
/** Return a limit in dollars and cents. */
export const cap = usd => dollars(usd, { minimumFractionDigits: 2, maximumFractionDigits: 4 });

/** Return a duration as `1 min 34 s`. */
export function duration(seconds) {
  if (seconds < 60) return t("seconds", { s: seconds < 10 ? number(seconds, 1) : number(seconds, 0) });
  const whole = Math.round(seconds), minutes = Math.floor(whole / 60);
  if (minutes < 60) return whole % 60 ? t("minutes", { m: minutes, s: whole % 60 }) : t("minutes.only", { m: minutes });
  return t("hours", { h: Math.floor(minutes / 60), m: minutes % 60 });
}

/** Join the given parts of a line. */
export const facts = (...parts) => parts.filter(Boolean).join(t("comma"));

/** Return a time in a video as `1:34`. */
export function clock(seconds) {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** Return a number of bytes as `38 MB`. */
export function bytes(count) {
  const step = count < 1e6 ? [1e3, "kB"] : count < 1e9 ? [1e6, "MB"] : [1e9, "GB"];
  return `${number(count / step[0], count / step[0] < 10 ? 1 : 0)} ${step[1]}`;
}

/** Return the day and time of a timestamp. */
export function moment(text) {
  const date = new Date(text), days = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(date).setHours(0, 0, 0, 0)) / 864e5);
  const time = new Intl.DateTimeFormat(LANGUAGES[language], { timeStyle: "short" }).format(date);
  if (days < 2) return t(days === 0 ? "today" : "yesterday", { time });
  return new Intl.DateTimeFormat(LANGUAGES[language], { dateStyle: "medium" }).format(date);
}

/** Return the date and time of a timestamp. */
export const dateOf = text => new Intl.DateTimeFormat(LANGUAGES[language], { dateStyle: "long", timeStyle: "short" }).format(new Date(text));

/** Return the name of a month such as `2026-11`. */
export function month(text) {
  return new Intl.DateTimeFormat(LANGUAGES[language], { month: "long", year: "numeric", timeZone: "UTC" }).format(new Date(`${text}-15`));
}
