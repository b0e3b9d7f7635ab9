// Charts over time, drawn as SVG in the pixels that there are (so that text keeps its size).
// Each has its numbers in words (the picture's name) and in a table that opens on demand.

import { el, isNumber, number, svg } from './dom.js';

const HEIGHT = 150;
const LEFT = 44; // room for the labels of the y axis
const BOTTOM = 20;
const TOP = 8;
const GAP_MS = 4000; // no line is drawn across a longer gap
const ROW_MS = 15000; // one row of the table
const SPANS_MS = [60000, 300000]; // what is drawn: the shortest that holds all samples

// A round number that is not below x; halves of whole ones are whole too.
function niceTop(x, isWhole) {
  if (isWhole && x <= 2) return 2;
  if (!(x > 0)) return 1;
  const unit = 10 ** Math.floor(Math.log10(x));
  const steps = isWhole ? [2, 4, 6, 8, 10] : [1, 2, 4, 6, 8, 10];
  return steps.map((f) => f * unit).find((top) => top >= x * 0.999);
}

function ago(ms) {
  const s = Math.round(ms / 1000);
  return s < 60 ? s + ' s ago' : Math.floor(s / 60) + ' min ' + String(s % 60).padStart(2, '0') + ' s ago';
}

// options: {title, unit, series: [name, …] (at most two), say: values -> words, isWhole}.
// A sample is {t: ms, values: [number or null, …]}.
export class LineChart {
  constructor(options) {
    this.options = options;
    this.samples = [];
    this.value = el('span', { class: 'chart-now' });
    this.svg = svg('svg', { role: 'img', height: HEIGHT });
    this.body = el('tbody');
    const head = ['Time', ...options.series].map((s) => el('th', { scope: 'col' }, s));
    const table = el('table', null, el('thead', null, el('tr', null, ...head)), this.body);
    this.details = el('details', { ontoggle: () => this.fillTable() },
      el('summary', null, 'Numbers', el('span', { class: 'offscreen' }, ' of ' + options.title)),
      el('div', { class: 'table', tabindex: '0', role: 'region',
        'aria-label': 'Table: ' + options.title }, table));
    const legend = options.series.length < 2 ? null : el('ul', { class: 'legend' },
      ...options.series.map((s, i) => el('li', { class: 'series-' + i }, s)));
    this.node = el('figure', { class: 'chart' },
      el('figcaption', null, el('span', { class: 'chart-title' }, options.title), this.value),
      this.svg, legend, this.details);
    this.svg.addEventListener('pointermove', (event) => this.pointAt(event.offsetX));
    this.svg.addEventListener('pointerleave', () => this.pointAt(null));
    new ResizeObserver(() => this.draw()).observe(this.svg);
  }

  show(samples) {
    this.samples = samples;
    this.draw();
    this.fillTable();
  }

  pointAt(x) {
    this.pointer = x;
    this.draw();
  }

  words(sample) {
    if (!sample || !sample.values.some(isNumber)) return '–';
    return this.options.say(...sample.values.map(number));
  }

  draw() {
    const width = this.svg.clientWidth;
    const { series, isWhole } = this.options;
    const now = this.samples.length ? this.samples.at(-1).t : 0;
    const age = this.samples.length ? now - this.samples[0].t : 0;
    const spanMs = SPANS_MS.find((span) => age <= span) || SPANS_MS.at(-1);
    const seen = this.samples.filter((s) => now - s.t <= spanMs);
    const most = Math.max(0, ...seen.flatMap((s) => s.values.filter(isNumber)));
    const top = niceTop(most, isWhole);
    const scale = {
      x: (t) => LEFT + (width - LEFT - 2) * (1 - (now - t) / spanMs),
      y: (v) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - v / top),
    };
    this.svg.setAttribute('aria-label', this.label(seen, most));
    if (width < 2 * LEFT) return;
    this.svg.setAttribute('viewBox', `0 0 ${width} ${HEIGHT}`);
    const lines = series.flatMap((_, i) => this.line(seen, i, scale));
    this.svg.replaceChildren(...this.axes(width, top, spanMs, scale), ...lines,
      ...this.marker(seen, scale));
  }

  // The sample under the pointer, else the newest, in figures; a line where the pointer is.
  marker(seen, scale) {
    let at = seen.at(-1);
    if (isNumber(this.pointer) && seen.length) {
      at = seen.reduce((a, b) => (
        Math.abs(scale.x(a.t) - this.pointer) < Math.abs(scale.x(b.t) - this.pointer) ? a : b));
    }
    const isPast = at && at !== seen.at(-1);
    this.value.textContent = this.words(at) + (isPast ? ', ' + ago(seen.at(-1).t - at.t) : '');
    if (!isPast) return [];
    const x = scale.x(at.t);
    return [svg('path', { class: 'pointer', d: `M${x} ${TOP}V${HEIGHT - BOTTOM}` })];
  }

  axes(width, top, spanMs, scale) {
    const nodes = [0, top / 2, top].flatMap((v) => [
      svg('path', { class: 'grid', d: `M${LEFT} ${scale.y(v)}H${width}` }),
      svg('text', { x: LEFT - 8, y: scale.y(v) + 4, 'text-anchor': 'end' }, number(v))]);
    const minutes = Math.round(spanMs / 60000);
    nodes.push(svg('text', { x: LEFT, y: HEIGHT - 4 }, minutes + ' min ago'),
      svg('text', { x: width - 2, y: HEIGHT - 4, 'text-anchor': 'end' }, 'now'));
    return nodes;
  }

  // The area of the first series and the line of each, cut where samples are missing.
  line(seen, i, scale) {
    const runs = [];
    let before = null;
    for (const s of seen) {
      if (!isNumber(s.values[i])) {
        before = null;
        continue;
      }
      if (!before || s.t - before.t > GAP_MS) runs.push([]);
      runs.at(-1).push(`${scale.x(s.t).toFixed(1)} ${scale.y(s.values[i]).toFixed(1)}`);
      before = s;
    }
    const path = runs.map((r) => 'M' + r.join('L') + (r.length === 1 ? 'h1' : '')).join('');
    const out = [svg('path', { class: 'line series-' + i, d: path })];
    if (i > 0) return out;
    const floor = scale.y(0);
    const area = runs.map((r) => {
      const [from, to] = [r[0], r.at(-1)].map((p) => p.split(' ')[0]);
      return `M${from} ${floor}L${r.join('L')}L${to} ${floor}Z`;
    }).join('');
    return [svg('path', { class: 'area', d: area }), ...out];
  }

  label(seen, most) {
    const { title, unit, series } = this.options;
    const last = seen.at(-1);
    if (!last) return title + ': no numbers yet';
    const now = last.values.map((v, i) => (
      (series.length > 1 ? series[i] + ' ' : '') + (isNumber(v) ? number(v) : 'not known')));
    return `${title}, in ${unit}: now ${now.join(', ')}; highest ${number(most)}`;
  }

  fillTable() {
    if (!this.details.open) return;
    const last = this.samples.at(-1);
    const rows = [];
    let next = Infinity;
    for (const s of [...this.samples].reverse()) {
      if (s.t > next) continue;
      next = s.t - ROW_MS + 500;
      rows.push(el('tr', null, el('th', { scope: 'row' }, s === last ? 'now' : ago(last.t - s.t)),
        ...s.values.map((v) => el('td', null, number(v)))));
    }
    this.body.replaceChildren(...rows);
  }
}

// Bars: how full each pool is. A table, of which the bars are only the picture.
export class PoolTable {
  constructor() {
    this.body = el('tbody');
    const head = ['Pool', 'In use', ''].map((s) => el('th', { scope: 'col' }, s));
    head[2].append(el('span', { class: 'offscreen' }, 'Share'));
    this.node = el('figure', { class: 'chart pools' },
      el('figcaption', null, el('span', { class: 'chart-title' }, 'Pools of the cache')),
      el('table', null, el('thead', null, el('tr', null, ...head)), this.body));
  }

  show(pools, tightest) {
    this.body.replaceChildren(...Object.entries(pools).map(([name, { used, max }]) => {
      const share = max > 0 ? Math.min(1, used / max) : 0;
      const words = name.replace(/_/g, ' ');
      const level = share >= 0.9 ? ' full' : '';
      return el('tr', null,
        el('th', { scope: 'row' }, words[0].toUpperCase() + words.slice(1),
          name === tightest ? el('span', { class: 'badge' }, 'tightest') : null),
        el('td', null, number(used) + ' of ' + number(max)),
        el('td', null,
          svg('svg', { class: 'bar-line', viewBox: '0 0 100 8', preserveAspectRatio: 'none',
            'aria-hidden': 'true' },
          svg('rect', { class: 'gauge-all', width: 100, height: 8 }),
          svg('rect', { class: 'gauge-used' + level, width: 100 * share, height: 8 })),
          el('span', { class: 'percent' }, Math.round(100 * share) + ' %')));
    }));
  }
}
