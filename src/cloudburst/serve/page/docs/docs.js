// Shows the OpenAPI description of the server, without scripts of other servers.

const main = document.querySelector("main");

function element(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children.filter(Boolean));
  return node;
}

const typeOf = schema =>
  schema.$ref?.split("/").pop() ?? schema.enum?.join(" | ") ?? schema.anyOf?.map(typeOf).join(" | ") ??
  (schema.type === "array" ? `list of ${typeOf(schema.items ?? {})}` : schema.const ?? schema.type ?? "anything");

/** Return the fields of a schema as a table; those of objects within are folded below it. */
function fields(schema, all) {
  const found = resolved(schema, all);
  const rows = Object.entries(found.properties ?? {}).map(([name, field]) => {
    const inner = innerOf(field, all);
    return element("tr", {},
      element("td", {}, element("code", {}, name), found.required?.includes(name) ? " *" : ""),
      element("td", { class: "muted" }, typeOf(field)),
      element("td", {}, field.description ?? "", inner && folded("fields", () => fields(inner, all))));
  });
  return rows.length ? element("table", { class: "fields" }, ...rows) : element("code", {}, typeOf(found));
}

const resolved = (schema, all) => (schema.$ref ? all[schema.$ref.split("/").pop()] : schema);

function innerOf(field, all) {
  const choices = [field, field.items, ...(field.anyOf ?? [])].filter(Boolean).map(one => resolved(one, all));
  return choices.find(one => one.properties) ?? choices.find(one => one.items && resolved(one.items, all).properties)?.items;
}

function folded(title, content) {
  const details = element("details", {}, element("summary", {}, title));
  details.addEventListener("toggle", () => details.childElementCount === 1 && details.append(content()), { once: true });
  return details;
}

function bodies(content, all) {
  return Object.entries(content ?? {}).map(([type, { schema = {}, example }]) => element("div", {},
    element("p", { class: "small muted" }, type), fields(schema, all),
    example && element("pre", {}, element("code", {}, JSON.stringify(example, null, 2)))));
}

function operation(method, path, one, all) {
  const responses = Object.entries(one.responses).map(([status, response]) =>
    folded(`${status} ${response.description}`, () => element("div", {}, ...bodies(response.content, all))));
  const details = folded("", () => element("div", { class: "stack" },
    element("p", {}, one.description),
    ...(one.parameters ?? []).map(parameter => element("p", {},
      element("code", {}, parameter.name), ` (${parameter.in}, ${typeOf(parameter.schema)}) `, parameter.description ?? "")),
    ...bodies(one.requestBody?.content, all), ...responses));
  details.firstChild.append(element("b", {}, method.toUpperCase()), " ", element("code", {}, path), " ", one.summary);
  return element("section", { class: "card" }, details);
}

const api = await (await fetch("../openapi.json")).json();
for (const [path, methods] of Object.entries(api.paths)) {
  for (const [method, one] of Object.entries(methods)) main.append(operation(method, path, one, api.components.schemas));
}
