// Filters pictures and table, and shows what is pointed at. No library, no host.
"use strict";
const form = document.getElementById("controls");
const tip = document.getElementById("tip");
const told = new Map(); // of each point: its figures, and its command on the next line

function chosen() {
  const models = new Set([...form.querySelectorAll("[name=model]:checked")].map((box) => box.value));
  return {
    task: form.task.value, axis: form.axis.value, way: form.way.value, models,
    deadlines: form.deadlines.checked,
  };
}

function wanted(data, now) {
  return now.models.has(data.model) && (!now.way || data.way === now.way) &&
    (now.deadlines || data.deadline === "");
}

function apply() {
  const now = chosen();
  for (const figure of document.querySelectorAll("figure")) {
    figure.hidden = figure.dataset.task !== now.task || figure.dataset.axis !== now.axis;
  }
  for (const mark of document.querySelectorAll(".point")) {
    mark.classList.toggle("gone", !wanted(mark.dataset, now));
  }
  for (const row of document.querySelectorAll("#table tbody tr")) {
    row.hidden = row.dataset.task !== now.task || !wanted(row.dataset, now);
  }
  for (const step of document.querySelectorAll("#steps li")) {
    step.hidden = step.dataset.task !== now.task;
  }
  tip.hidden = true;
}

function show(mark) {
  const [text, ...command] = told.get(mark).split("\n");
  const code = document.createElement("code");
  code.textContent = command.join("\n");
  tip.replaceChildren(text, code);
  tip.hidden = false;
  const box = mark.getBoundingClientRect();
  const left = Math.min(box.right + 12, window.innerWidth - tip.offsetWidth - 12);
  tip.style.left = `${Math.max(8, left) + window.scrollX}px`;
  const below = box.bottom + 10 + tip.offsetHeight < window.innerHeight;
  const top = below ? box.bottom + 10 : Math.max(8, box.top - 10 - tip.offsetHeight);
  tip.style.top = `${top + window.scrollY}px`;
}

function value(cell) {
  const number = Number.parseFloat(cell.textContent);
  return Number.isNaN(number) ? cell.textContent : number;
}

function sortBy(column, button) {
  const body = document.querySelector("#table tbody");
  const down = button.dataset.down !== "yes";
  button.dataset.down = down ? "yes" : "no";
  const rows = [...body.rows].sort((a, b) => {
    const [x, y] = [value(a.cells[column]), value(b.cells[column])];
    const order = typeof x === "number" && typeof y === "number"
      ? x - y : String(x).localeCompare(String(y));
    return down ? -order : order;
  });
  body.append(...rows);
}

for (const mark of document.querySelectorAll(".point")) {
  const title = mark.querySelector("title");
  told.set(mark, title.textContent);
  title.remove(); // the tip says it
  mark.addEventListener("mouseenter", () => show(mark));
  mark.addEventListener("focus", () => show(mark));
  mark.addEventListener("mouseleave", () => { tip.hidden = true; });
  mark.addEventListener("blur", () => { tip.hidden = true; });
}
document.querySelectorAll("#table th button").forEach((button, column) => {
  button.addEventListener("click", () => sortBy(column, button));
});
form.addEventListener("input", apply);
form.hidden = false;
apply();
