// Checks that run inside the page, as an expression: an object of functions that list problems.
(() => {
  const parse = (color) => {
    const m = /^rgba?\(([\d.]+), ([\d.]+), ([\d.]+)(?:, ([\d.]+))?\)$/.exec(color);
    if (!m) throw new Error('cannot read the colour ' + color);
    return [Number(m[1]), Number(m[2]), Number(m[3]), m[4] === undefined ? 1 : Number(m[4])];
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3]));

  // WCAG 2: relative luminance, contrast.
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((v) => {
      const s = v / 255;
      return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [hi, lo] = [luminance(a), luminance(b)].sort((x, y) => y - x);
    return (hi + 0.05) / (lo + 0.05);
  };

  const groundOf = (node) => {
    const layers = [];
    for (let n = node; n; n = n.parentElement) {
      const color = parse(getComputedStyle(n).backgroundColor);
      layers.push(color);
      if (color[3] === 1) break;
    }
    return layers.reduceRight((below, top) => over(top, below), [255, 255, 255]);
  };
  const isSeen = (node) => node.checkVisibility({ opacityProperty: true, visibilityProperty: true }) &&
    !node.closest('.offscreen, .skip') && node.getClientRects().length > 0;
  const where = (node) => node.tagName + '.' + node.getAttribute('class') + ' “' +
    node.textContent.trim().slice(0, 30) + '”';

  // Each piece of text that is seen and has less contrast than `least`.
  const lowContrast = (least) => {
    const found = new Map();
    let count = 0;
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let t = walker.nextNode(); t; t = walker.nextNode()) {
      const node = t.parentElement;
      if (!t.data.trim() || !isSeen(node)) continue;
      const style = getComputedStyle(node);
      const color = node instanceof SVGElement ? style.fill : style.color;
      const ground = groundOf(node);
      const ratio = contrast(over(parse(color), ground), ground);
      count++;
      if (ratio < least) found.set(where(node), ratio.toFixed(2));
    }
    for (const node of document.querySelectorAll('[placeholder]')) {
      if (!isSeen(node)) continue;
      const ground = groundOf(node);
      const ratio = contrast(over(parse(getComputedStyle(node, '::placeholder').color), ground), ground);
      if (ratio < least) found.set('placeholder of ' + node.id, ratio.toFixed(2));
    }
    return { count, problems: [...found].map((f) => f.join(' ')) };
  };

  // Edges of fields and of buttons without a ground of their own need 3 : 1 (WCAG 1.4.11).
  const lowEdges = () => [...document.querySelectorAll('input, textarea:not(#prompt), #composer')]
    .filter(isSeen).filter((node) => {
      const ground = groundOf(node.parentElement);
      return contrast(over(parse(getComputedStyle(node).borderTopColor), ground), ground) < 3;
    }).map(where);

  // What is wider than the window, unless it lies in something that scrolls by itself.
  const tooWide = () => {
    const width = document.documentElement.clientWidth;
    const out = document.scrollingElement.scrollWidth > width ? ['the document'] : [];
    for (const node of document.querySelectorAll('main *, header *, dialog[open] *')) {
      if (!isSeen(node) || node.closest('pre, .table, svg')) continue;
      const r = node.getBoundingClientRect();
      if (r.right > width + 0.5 || r.left < -0.5) out.push(where(node));
    }
    return out;
  };

  // Targets of fingers: 24 px at least (WCAG 2.5.8), links in text aside.
  const tooSmall = () => [...document.querySelectorAll('button, select, input, textarea, summary')]
    .filter(isSeen).filter((node) => !node.matches('.link')).filter((node) => {
      const r = node.getBoundingClientRect();
      return r.width < 24 || r.height < 24;
    }).map(where);

  const repeatedIds = () => {
    const ids = [...document.querySelectorAll('[id]')].map((n) => n.id);
    return ids.filter((id, i) => ids.indexOf(id) !== i);
  };

  return { lowContrast, lowEdges, tooWide, tooSmall, repeatedIds };
})()
