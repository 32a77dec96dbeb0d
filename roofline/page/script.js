// Sliders look figures up; ops tell theirs when pointed at. Nothing is fetched.
(() => {
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  const explore = (data) => {
    const form = one(".knobs"), refused = one(".refused"), tiles = one(".figures");
    const inputs = data.axes.map((axis) => document.getElementById(axis.id));
    const draw = (name, segments, values, whole) => {
      const bar = one(`[data-bar=${name}]`);
      bar.replaceChildren(...values.map((value, i) => {
        const part = document.createElement("i");
        part.style.width = `${Math.max(100 * value / whole, 0)}%`;
        part.style.background = segments[i][1];
        part.title = `${segments[i][0]}: ${(value / 10).toFixed(1)} %`;
        return part;
      }));
      bar.setAttribute("aria-label", values.map((value, i) => [value, segments[i][0]]).filter(([value]) => value)
        .map(([value, words]) => `${words} ${(value / 10).toFixed(1)} %`).join("; "));
      const limit = 100000 / whole;
      bar.style.setProperty("--limit", limit < 100 ? `${limit}%` : "-9px");
    };
    const show = () => {
      let place = 0;
      data.axes.forEach((axis, i) => {
        const words = axis.values[inputs[i].value].toLocaleString("en-US");
        place = place * axis.values.length + Number(inputs[i].value);
        one(`output[for=${axis.id}]`).value = words;
        inputs[i].setAttribute("aria-valuetext", `${words} ${axis.label}`);
      });
      const found = data.cases[place], possible = Array.isArray(found);
      refused.hidden = possible;
      refused.textContent = possible ? "" : `Not possible: ${data.reasons[found]}`;
      form.parentNode.classList.toggle("impossible", !possible);
      if (!possible) return;
      const [texts, verdict, lost, parts] = found;
      all("[data-figure]", tiles).forEach((cell, i) => { cell.textContent = texts[i]; });
      one("[data-figure=memory]").className = verdict === 2 ? "bad" : "";
      draw("lost", data.lost, lost, 1000);
      draw("parts", data.parts, parts, Math.max(1000, parts.reduce((sum, value) => sum + value, 0)));
    };
    form.addEventListener("input", show);
    form.addEventListener("reset", () => setTimeout(show));
    form.addEventListener("submit", (event) => event.preventDefault());
    show();
    form.closest("section").hidden = false;
  };

  const point = (picture) => {
    const ops = all(".op", picture), tip = one(".tip");
    const hide = () => { tip.hidden = true; };
    const tell = (op) => {
      const [name, ...lines] = op.getAttribute("aria-label").split(/: |; /);
      const heading = document.createElement("strong");
      heading.textContent = name;
      tip.replaceChildren(heading, ...lines.map((words) => {
        const row = document.createElement("span");
        row.textContent = words;
        return row;
      }));
      tip.hidden = false;
      const at = one("circle", op).getBoundingClientRect(), size = tip.getBoundingClientRect();
      const left = Math.min(Math.max(at.left + at.width / 2 - size.width / 2, 4), innerWidth - size.width - 4);
      const above = at.top - size.height - 6;
      tip.style.left = `${left + scrollX}px`;
      tip.style.top = `${(above > 0 ? above : at.bottom + 6) + scrollY}px`;
    };
    const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
    ops.forEach((op, i) => {
      op.addEventListener("pointerenter", () => tell(op));
      op.addEventListener("pointerleave", hide);
      op.addEventListener("focus", () => tell(op));
      op.addEventListener("blur", hide);
      op.addEventListener("keydown", (event) => {
        if (event.key === "Escape") hide();
        if (!(event.key in steps)) return;
        event.preventDefault();
        const next = ops[(i + steps[event.key] + ops.length) % ops.length];
        op.tabIndex = -1;
        next.tabIndex = 0;
        next.focus();
      });
    });
  };

  const data = document.getElementById("explored");
  if (data) explore(JSON.parse(data.textContent));
  all("svg.chart").filter((picture) => one(".op", picture)).forEach(point);
})();
