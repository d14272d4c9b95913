// Zoom and pan for the page's plots. The script moves what matplotlib drew and relabels the axes; without it the
// plots are complete, only still. Drag a box, pinch, or use the buttons and keys; a double click shows all again.
"use strict";
(() => {
  const NS = "http://www.w3.org/2000/svg";
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  function ticks(low, high, count) {
    const raw = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = power * [1, 2, 5, 10].find((nice) => nice * power >= raw);
    const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    const found = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(k * step);
    return found.map((value) => [value, value.toFixed(decimals).replace("-", "\u2212")]);
  }

  function setUp(figure) {
    const svg = figure.querySelector("svg");
    const [left, top, width, height] = svg.dataset.area.split(" ").map(Number);
    const [x0, x1, y0, y1] = svg.dataset.limits.split(" ").map(Number);
    const all = { x0, x1, y0, y1 };
    const named = svg.dataset.yTicks && Object.entries(JSON.parse(svg.dataset.yTicks)).map(([value, words]) => [+value, words]);
    let view = { ...all };
    const paths = [], uses = [];
    for (const group of svg.querySelectorAll("g.data")) {
      for (const path of group.querySelectorAll("path")) {
        if (!path.closest("defs")) paths.push([path, path.getAttribute("d")]);
      }
      for (const use of group.querySelectorAll("use")) uses.push([use, +use.getAttribute("x"), +use.getAttribute("y")]);
    }
    const own = [...svg.querySelectorAll("g[id*='xtick_'], g[id*='ytick_']")];
    const grid = svg.insertBefore(document.createElementNS(NS, "g"), svg.firstChild);
    const axes = svg.appendChild(document.createElementNS(NS, "g"));
    const box = svg.appendChild(document.createElementNS(NS, "rect"));
    box.setAttribute("class", "box");
    box.setAttribute("visibility", "hidden");
    const isAll = () => view.x0 === all.x0 && view.x1 === all.x1 && view.y0 === all.y0 && view.y1 === all.y1;

    function draw() {
      const kx = (all.x1 - all.x0) / (view.x1 - view.x0), ky = (all.y1 - all.y0) / (view.y1 - view.y0);
      const dx = ((all.x0 - view.x0) / (view.x1 - view.x0)) * width;
      const dy = ((view.y1 - all.y1) / (view.y1 - view.y0)) * height;
      const px = (x) => left + (x - left) * kx + dx, py = (y) => top + (y - top) * ky + dy;
      for (const [path, d] of paths) {
        path.setAttribute("d", d.replace(/(-?[\d.]+) (-?[\d.]+)/g, (_, x, y) => `${px(+x).toFixed(2)} ${py(+y).toFixed(2)}`));
      }
      for (const [use, x, y] of uses) { use.setAttribute("x", px(x)); use.setAttribute("y", py(y)); }
      axes.replaceChildren();
      grid.replaceChildren();
      for (const tick of own) tick.style.display = isAll() ? "" : "none";
      svg.style.touchAction = isAll() ? "pan-y" : "none";
      figure.classList.toggle("zoomed", !isAll());
      if (isAll()) return;
      const put = (where, x1, y1, x2, y2, colour) => {
        const line = where.appendChild(document.createElementNS(NS, "line"));
        for (const [key, value] of Object.entries({ x1, y1, x2, y2, stroke: colour, "stroke-width": 0.7 })) line.setAttribute(key, value);
      };
      const write = (x, y, anchor, words) => {
        const text = axes.appendChild(document.createElementNS(NS, "text"));
        for (const [key, value] of Object.entries({ x, y, "text-anchor": anchor, "font-size": 10 })) text.setAttribute(key, value);
        text.textContent = words;
      };
      for (const [value, words] of ticks(view.x0, view.x1, 7)) {
        const x = left + ((value - view.x0) / (view.x1 - view.x0)) * width;
        put(grid, x, top, x, top + height, "#ddd");
        put(axes, x, top + height, x, top + height + 3.5, "#000");
        write(x, top + height + 14, "middle", words);
      }
      for (const [value, words] of named || ticks(view.y0, view.y1, 7)) {
        if (value < view.y0 || value > view.y1) continue;
        const y = top + ((view.y1 - value) / (view.y1 - view.y0)) * height;
        put(grid, left, y, left + width, y, "#ddd");
        put(axes, left - 3.5, y, left, y, "#000");
        write(left - 6, y + 3.5, "end", words);
      }
    }

    // Positions as shares of the axes, from the left and from the bottom.
    function share(event) {
      const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      return [clamp((point.x - left) / width, 0, 1), clamp(1 - (point.y - top) / height, 0, 1)];
    }
    const at = ([u, v]) => [view.x0 + u * (view.x1 - view.x0), view.y0 + v * (view.y1 - view.y0)];

    function show(x0, x1, y0, y1) {
      const least = 1e-4;
      if (x1 - x0 < least * (all.x1 - all.x0) || y1 - y0 < least * (all.y1 - all.y0)) return;
      const fit = (low, high, from, to) => {
        const span = Math.min(high - low, to - from);
        const start = clamp(low, from, to - span);
        return span === to - from ? [from, to] : [start, start + span];
      };
      [view.x0, view.x1] = fit(x0, x1, all.x0, all.x1);
      [view.y0, view.y1] = fit(y0, y1, all.y0, all.y1);
      draw();
    }
    function zoom(factor, centre = [0.5, 0.5]) {
      const [x, y] = at(centre);
      show(x + (view.x0 - x) / factor, x + (view.x1 - x) / factor, y + (view.y0 - y) / factor, y + (view.y1 - y) / factor);
    }
    function pan(u, v) {
      const dx = u * (view.x1 - view.x0), dy = v * (view.y1 - view.y0);
      show(view.x0 + dx, view.x1 + dx, view.y0 + dy, view.y1 + dy);
    }
    const reset = () => { view = { ...all }; draw(); };

    const pointers = new Map();
    let start = null, last = null;
    svg.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "mouse" && event.button !== 0) return;
      pointers.set(event.pointerId, share(event));
      start = share(event);
      last = pinch();
      if (event.pointerType === "mouse") { svg.setPointerCapture(event.pointerId); event.preventDefault(); svg.focus(); }
    });
    const pinch = () => {
      const [a, b] = [...pointers.values()];
      return b ? { size: Math.hypot(a[0] - b[0], a[1] - b[1]), centre: [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2] } : null;
    };
    svg.addEventListener("pointermove", (event) => {
      if (!pointers.has(event.pointerId)) return;
      const now = share(event), before = pointers.get(event.pointerId);
      pointers.set(event.pointerId, now);
      if (pointers.size === 2) {
        const next = pinch();
        if (last && last.size > 0.02) {
          pan(last.centre[0] - next.centre[0], last.centre[1] - next.centre[1]);
          zoom(next.size / last.size, next.centre);
        }
        last = next;
      } else if (event.pointerType === "mouse") {
        const [u0, u1] = [start[0], now[0]].sort((a, b) => a - b), [v0, v1] = [start[1], now[1]].sort((a, b) => a - b);
        const shape = { x: left + u0 * width, y: top + (1 - v1) * height, width: (u1 - u0) * width, height: (v1 - v0) * height };
        for (const [key, value] of Object.entries(shape)) box.setAttribute(key, value);
        box.setAttribute("visibility", "visible");
      } else if (!isAll()) {
        pan(before[0] - now[0], before[1] - now[1]);
      }
    });
    const release = (event) => {
      if (!pointers.delete(event.pointerId)) return;
      last = null;
      box.setAttribute("visibility", "hidden");
      if (event.type !== "pointerup" || event.pointerType !== "mouse") return;
      const end = share(event);
      if (Math.abs(end[0] - start[0]) < 0.02 || Math.abs(end[1] - start[1]) < 0.02) return;
      const [a, b] = [at(start), at(end)];
      show(Math.min(a[0], b[0]), Math.max(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[1], b[1]));
    };
    svg.addEventListener("pointerup", release);
    svg.addEventListener("pointercancel", release);
    svg.addEventListener("dblclick", reset);
    svg.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.shiftKey) return; // the page scrolls as usual
      event.preventDefault();
      zoom(Math.exp(-(event.deltaY || event.deltaX) / 300), share(event));
    }, { passive: false });
    svg.setAttribute("tabindex", "0");
    const keys = {
      "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), "0": reset, Escape: reset,
      ArrowLeft: () => pan(-0.2, 0), ArrowRight: () => pan(0.2, 0), ArrowUp: () => pan(0, 0.2), ArrowDown: () => pan(0, -0.2),
    };
    svg.addEventListener("keydown", (event) => {
      if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      keys[event.key]();
    });

    const tools = document.createElement("div");
    tools.className = "tools";
    for (const [sign, words, action] of [["+", "zoom in", () => zoom(1.5)], ["\u2212", "zoom out", () => zoom(1 / 1.5)], ["all", "show all", reset]]) {
      const button = tools.appendChild(document.createElement("button"));
      button.type = "button";
      button.textContent = sign;
      button.title = words;
      button.setAttribute("aria-label", words);
      button.addEventListener("click", action);
    }
    figure.insertBefore(tools, svg);
    draw();
  }

  for (const figure of document.querySelectorAll("figure.plot")) setUp(figure);
})();
