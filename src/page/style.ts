import { createHash } from 'node:crypto'

/** Colours have a contrast of 4.5 and more to their background (WCAG 2.2, 1.4.3), and nothing is told by colour alone. */
export const style = `
:root{color-scheme:light dark;--back:#f5f6f8;--card:#fff;--line:#dcdfe5;--text:#1b2130;--soft:#586074;--good:#14713d;--bad:#b3261e;--warn:#8a5200;
--badback:#fdecea;--warnback:#fdf3e0;--goodback:#e6f4ec;--a:#2f6fde;--b:#c77700;--c:#c9352b;--other:#8a63c7;--none:#e6e8ed}
@media (prefers-color-scheme:dark){:root{--back:#10131a;--card:#191e28;--line:#2d3442;--text:#e8ebf2;--soft:#a3acbf;--good:#62d192;--bad:#ff9a90;--warn:#f3bd62;
--badback:#3a1c1c;--warnback:#35290f;--goodback:#14301f;--a:#6d9eff;--b:#e7a33c;--c:#ff7468;--other:#b395ee;--none:#2d3442}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--text);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
body>*{max-width:82rem;margin:0 auto;padding:0 1rem}
h1,h2,h3,p,ul,dl,dd,figure{margin:0;padding:0}
ul{list-style:none}
h1{font-size:1.35rem;line-height:1.25;letter-spacing:-.01em}
h2{font-size:1.05rem;margin:2rem 0 .6rem}
h3{font-size:.95rem;overflow-wrap:anywhere}
a{color:inherit;text-underline-offset:.2em}
a:focus-visible,[tabindex]:focus-visible{outline:2px solid var(--a);outline-offset:2px}
.soft,.chart p,dt{color:var(--soft)}
.mono{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:.87em;overflow-wrap:anywhere}
header{display:flex;flex-wrap:wrap;gap:.4rem 1rem;align-items:center;padding-top:1.4rem;padding-bottom:.9rem}
header .soft{flex:1 1 16rem}
.pill{display:inline-block;white-space:nowrap;border-radius:1rem;padding:.05rem .65rem;font-size:.85rem;font-weight:600;background:var(--none);color:var(--text)}
.pill.good{background:var(--goodback);color:var(--good)}.pill.bad{background:var(--badback);color:var(--bad)}.pill.warn{background:var(--warnback);color:var(--warn)}
.card{background:var(--card);border:1px solid var(--line);border-radius:.6rem;padding:.8rem .9rem;min-width:0}
.grid{display:grid;gap:.8rem;grid-template-columns:repeat(auto-fill,minmax(min(100%,20rem),1fr))}
.halves{grid-template-columns:repeat(auto-fit,minmax(min(100%,32rem),1fr));margin:.8rem 0}
.wide{grid-template-columns:repeat(auto-fill,minmax(min(100%,26rem),1fr))}
.tiles{display:grid;gap:.8rem;grid-template-columns:repeat(auto-fit,minmax(8.5rem,1fr))}
.tiles .card{padding:.6rem .9rem}.tiles dd{font-size:1.3rem;font-weight:600;font-variant-numeric:tabular-nums;line-height:1.3}.tiles dt{font-size:.85rem}
small{font-size:.75em;font-weight:400}
.findings{display:grid;gap:.6rem}
.findings .card{border-left:.3rem solid var(--warn);overflow-wrap:anywhere}.findings .error{border-left-color:var(--bad)}.findings .note{border-left-color:var(--soft)}.findings .calm{border-left-color:var(--good)}
.findings h3{font-size:1rem}.findings .subject{font-weight:400;color:var(--soft)}
.head{display:flex;flex-wrap:wrap;gap:.2rem .6rem;justify-content:space-between;align-items:baseline;margin-bottom:.4rem}
.facts{display:grid;grid-template-columns:minmax(5.5rem,max-content) 1fr;gap:.1rem .8rem;font-size:.9rem}.facts dd{overflow-wrap:anywhere;min-width:0}
.chart{position:relative}.chart p{font-size:.85rem}.chart .scale{text-align:right;margin-top:.3rem}
.chart>svg{display:block;width:100%;height:6.5rem}
.ends,.legend{display:flex;justify-content:space-between;font-size:.85rem}.legend{flex-wrap:wrap;justify-content:flex-start;gap:.1rem 1rem;margin-top:.3rem}
.legend .soft{margin-left:.35rem}.key{width:.7rem;height:.7rem;margin-right:.35rem}
.grid path,path.grid{fill:none;stroke:var(--line);stroke-width:1;vector-effect:non-scaling-stroke}path.axis{stroke:var(--soft);stroke-width:1;vector-effect:non-scaling-stroke}
path.line{fill:none;stroke-width:2;stroke-linejoin:round;vector-effect:non-scaling-stroke}
.fill-a{fill:var(--a)}.fill-b{fill:var(--b)}.fill-c,.fill-bad{fill:var(--c)}.fill-good{fill:var(--good)}.fill-other{fill:var(--other)}.fill-soft{fill:var(--soft)}.fill-none{fill:var(--none)}
.line.stroke-a{stroke:var(--a)}.line.stroke-b{stroke:var(--b)}.line.stroke-c{stroke:var(--c)}
.bar{display:block;width:100%;height:.7rem;border-radius:.35rem;margin:.35rem 0 .2rem}
.rows>li{display:grid;grid-template-columns:minmax(0,1fr) auto;gap:0 .8rem;padding:.35rem 0;border-top:1px solid var(--line);overflow-wrap:anywhere}.rows>li:first-child{border-top:0}
.rows>li>.pill{align-self:start}.rows .bar{grid-column:1/-1}.rows .num{font-variant-numeric:tabular-nums;text-align:right}
table{border-collapse:collapse;width:100%;font-size:.85rem;margin-top:.8rem}caption{text-align:left;font-weight:600;padding-bottom:.3rem}
th,td{text-align:left;padding:.2rem .3rem .2rem 0;border-top:1px solid var(--line);font-weight:400}
thead th{border-top:0;color:var(--soft)}td.bad{color:var(--bad);font-weight:600}td.good{color:var(--good)}
.scans{margin-top:.6rem}.scans li{margin-top:.5rem}
footer{color:var(--soft);font-size:.85rem;padding-top:2rem;padding-bottom:2rem}
@media (max-width:26rem){table{font-size:.78rem}}
@media print{body{background:none}.card{break-inside:avoid}}
`

/**
 * What the browser may do with the page: show it, with this style. No script, no request, no form, no frame (W3C, "Content Security Policy Level 3").
 * `data:` is for the icon, which is empty.
 */
export const contentSecurityPolicy = `default-src 'none'; style-src 'sha256-${
  createHash('sha256').update(style).digest('base64')
}'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`
