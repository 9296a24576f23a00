// Asks /status twice a second and shows it. Texts from the server become text nodes, never HTML.
"use strict";

const PERIOD_MS = 500;
const POINTS = 240;  // of the curve: two minutes
const at = (id) => document.getElementById(id);
const rates = [];
let before = null;  // what was sampled at the last look, and when
let key = sessionStorage.getItem("key") || "";

function headers() {
  return key ? {authorization: `Bearer ${key}`} : {};
}

function cell(content, name = "") {
  const made = document.createElement("td");
  made.className = name;
  made.append(content);
  return made;
}

function row(...cells) {
  const made = document.createElement("tr");
  made.append(...cells);
  return made;
}

function nothing(text, columns) {
  const made = cell(text, "none");
  made.colSpan = columns;
  return row(made);
}

function seconds(ms) {
  return `${(ms / 1000).toFixed(1)} s`;
}

function gauge(value, most) {
  const made = document.createElement("meter");
  made.max = most;
  made.value = value;
  return made;
}

function button(label, id, action) {
  const made = document.createElement("button");
  made.textContent = label;
  made.onclick = () => fetch("/v1/chat/completions/control", {
    method: "POST",
    headers: {"content-type": "application/json", ...headers()},
    body: JSON.stringify({id, action}),
  });
  return made;
}

function deadline(request) {
  if (request.deadline_ms === null) return "none";
  const made = document.createElement("span");
  made.append(gauge(request.age_ms, request.deadline_ms), ` ${seconds(request.deadline_ms)}`);
  return made;
}

function requestRow(request) {
  const buttons = document.createElement("span");
  if (request.doing !== "answers") buttons.append(button("stop thinking", request.id, "reasoning_end"));
  buttons.append(button("cancel", request.id, "cancel"));
  const budget = request.think_budget < 0 ? "no limit" : String(request.think_budget);
  return row(
    cell(request.id.slice(0, 8)), cell(request.model), cell(request.doing, request.doing),
    cell(seconds(request.age_ms), "n"), cell(deadline(request)), cell(budget, "n"),
    cell(String(request.priority), "n"), cell(String(request.num_pieces), "n"), cell(buttons, "n"));
}

function modelRow(model) {
  if (!model.core) {
    const made = cell("not open", "none");
    made.colSpan = 7;
    return row(cell(model.name), made);
  }
  const core = model.core;
  const used = model.num_cells - core.num_free_cells;
  const cells = document.createElement("span");
  cells.append(gauge(used, model.num_cells), ` ${used} of ${model.num_cells}`);
  return row(
    cell(model.name), cell(cells), cell(String(core.num_parked), "n"), cell(String(core.num_active), "n"),
    cell(String(core.num_waiting), "n"), cell(`${core.step_ms.toFixed(2)} ms`, "n"),
    cell(String(core.num_threads), "n"), cell(core.load.toFixed(2), "n"));
}

function curve(status) {
  const sampled = status.models.reduce((sum, model) => sum + (model.core ? model.core.num_sampled : 0), 0);
  const now = performance.now();
  if (before) {
    rates.push(Math.max(0, 1000 * (sampled - before.sampled) / (now - before.now)));
    if (rates.length > POINTS) rates.shift();
  }
  before = {sampled, now};
  if (!rates.length) return;
  const most = Math.max(1, ...rates);
  const first = POINTS - rates.length;
  at("curve").setAttribute("points", rates.map(
    (rate, i) => `${(first + i) * 120 / (POINTS - 1)},${98 - 96 * rate / most}`).join(" "));
  at("rate").textContent = `(now ${rates[rates.length - 1].toFixed(0)}, most ${most.toFixed(0)})`;
}

function say(text, isBad) {
  at("state").textContent = text;
  at("state").className = isBad ? "bad" : "";
}

function show(status) {
  say(`${status.version}, ${status.requests.length} of ${status.max_requests} requests` +
      (status.is_stopping ? ", stopping" : ""), status.is_stopping);
  const requests = status.requests.map(requestRow);
  at("requests").replaceChildren(...(requests.length ? requests : [nothing("nothing runs", 9)]));
  at("models").replaceChildren(...status.models.map(modelRow));
  curve(status);
}

async function look() {
  try {
    const answer = await fetch("/status", {headers: headers()});
    at("login").hidden = answer.status !== 401;
    if (answer.ok) show(await answer.json());
    else say(answer.status === 401 ? "a key is needed" : `the server says ${answer.status}`, true);
  } catch {
    say("no connection", true);
  }
  setTimeout(look, PERIOD_MS);
}

at("login").onsubmit = (event) => {
  event.preventDefault();
  key = at("key").value;
  sessionStorage.setItem("key", key);
};

look();
