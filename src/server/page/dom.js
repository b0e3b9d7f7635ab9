// Building nodes. Text only ever becomes text: nothing here or elsewhere on the page parses HTML
// (the Content-Security-Policy forbids what could: Trusted Types).

const SVG = 'http://www.w3.org/2000/svg';

export const $ = (id) => document.getElementById(id);

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.filter((c) => c !== null && c !== undefined));
  return node;
}

// el('p', {class: 'a', onclick: f}, 'text', node): strings become text nodes.
export function el(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

export function svg(tag, props, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

// A picture from the sprite in index.html; always beside text or in a control with a name.
export function icon(name) {
  return svg('svg', { class: 'icon', 'aria-hidden': 'true' }, svg('use', { href: '#i-' + name }));
}

export function iconButton(name, label, onclick) {
  return el('button', { type: 'button', class: 'quiet', 'aria-label': label, title: label, onclick },
    icon(name));
}

// Says something to screen readers, politely. The same text twice is still said twice.
export function announce(text) {
  const region = $('announcer');
  region.textContent = '';
  setTimeout(() => { region.textContent = text; }, 30);
}

// A line at the foot of the window, for a few seconds; spoken too.
let toastTimer = 0;
export function toast(text) {
  const node = $('toast');
  node.textContent = text;
  node.hidden = false;
  announce(text);
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { node.hidden = true; }, 5000);
}

// Opens a <dialog>; resolves to true when its form is sent, false when it is dismissed. Resolved
// at once, not by the event `close`, which comes later: the dialog may be open again by then.
const waiting = new Map(); // dialog -> resolve

export function ask(dialog) {
  dialog.showModal();
  return new Promise((resolve) => { waiting.set(dialog, resolve); });
}

export function answer(dialog, isSent) {
  const resolve = waiting.get(dialog);
  waiting.delete(dialog);
  if (dialog.open) dialog.close();
  if (resolve) resolve(isSent);
}

// navigator.clipboard is there on https and localhost only; on plain http a selection is copied.
export async function copyText(text) {
  if (navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch { /* not allowed: the older way below */ }
  }
  const area = el('textarea', { class: 'offscreen', 'aria-hidden': 'true', tabindex: '-1' });
  area.value = text;
  const before = document.activeElement;
  document.body.append(area);
  area.select();
  const done = document.execCommand('copy');
  area.remove();
  if (before) before.focus();
  return done;
}

export function copyButton(label, text) {
  return el('button', {
    type: 'button', class: 'quiet copy', 'aria-label': label, title: label,
    onclick: async () => toast(await copyText(text()) ? 'Copied' : 'Copying is not allowed here'),
  }, icon('copy'));
}

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat('en', { minimumFractionDigits: 1, maximumFractionDigits: 1 });

export const isNumber = (x) => typeof x === 'number' && Number.isFinite(x);

// 38.2, 1,204; a dash for what is not known.
export function number(x) {
  if (!isNumber(x)) return '–';
  return Number.isInteger(x) || Math.abs(x) >= 100 ? whole.format(x) : tenth.format(x);
}

// 420 ms, 3.2 s, 4 min 10 s.
export function duration(ms) {
  if (!isNumber(ms)) return '–';
  if (ms < 1000) return number(Math.round(ms)) + ' ms';
  const s = ms / 1000;
  if (s < 60) return number(Math.round(10 * s) / 10) + ' s';
  const parts = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];
  let rest = Math.floor(s);
  const words = [];
  for (const [size, unit] of parts) {
    const n = Math.floor(rest / size);
    rest -= n * size;
    if (n > 0 && words.length < 2) words.push(n + ' ' + unit);
  }
  return words.join(' ');
}
