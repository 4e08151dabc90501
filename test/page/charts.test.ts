import t from 'tap'
import { bar, chart, type Series } from '../../src/page/charts.ts'

/** The attributes of every element of that name, as numbers where they are. */
function shapes(markup: string, element: string): Record<string, string | number>[] {
  return [...markup.matchAll(new RegExp(`<${element} ([^>]*?)/?>`, 'g'))].map(([, attributes = '']) =>
    Object.fromEntries(
      [...attributes.matchAll(/([a-z-]+)="([^"]*)"/g)].map(([, name = '', value = '']) => [name, /^[\d.]+$/.test(value) ? Number(value) : value])
    )
  )
}

const plain = { title: 'T', summary: 'S', words: (value: number) => `${value} x` }
const series = (colour: Series['colour'], values: Series['values']): Series => ({ name: `series ${colour}`, colour, values })

await t.test('bars stand on each other, and the highest column fills the height', async (t) => {
  const markup = chart({ ...plain, kind: 'bars', series: [series('a', [10, 0, 4]), series('c', [10, 5, null])] }).toString()
  const bars = shapes(markup, 'rect').filter(({ x }) => x !== undefined)
  t.same(bars.map((one) => [one['class'], one['x'], one['y'], one['width'], one['height']]), [
    // Of 600 by 100, 97 of them for the highest column of 20; a column is 200 wide, a tenth of it free on each side.
    ['fill-a', 20, 51.5, 160, 48.5],
    ['fill-c', 20, 3, 160, 48.5],
    ['fill-c', 220, 75.8, 160, 24.3],
    ['fill-a', 420, 80.6, 160, 19.4]
  ])
  t.match(markup, /<p class="scale">20 x<\/p>/)
  t.match(markup, /series a<span class="soft">up to 10 x</)
  t.match(markup, /role="img" aria-label="T: S"/)
})

await t.test('what happened once among thousands is seen, and stays inside', async (t) => {
  const bars = shapes(chart({ ...plain, kind: 'bars', series: [series('a', [100_000]), series('c', [1])] }).toString(), 'rect').filter(({ x }) =>
    x !== undefined
  )
  t.match(bars, [{ height: 97 }, { height: 2, y: 1 }])
})

await t.test('lines stop where there is no value; one value alone is a stroke', async (t) => {
  const paths = shapes(chart({ ...plain, kind: 'lines', series: [series('a', [4, 2, null, 1]), series('b', [null, null, null, null])] }).toString(), 'path')
  const lines = paths.filter((one) => String(one['class']).startsWith('line')).map((one) => one['d'])
  t.same(lines, ['M75.0 3.0L225.0 51.5M450.0 75.8h150', ''])
})

await t.test('nothing at all', async (t) => {
  for (const kind of ['bars', 'lines'] as const) {
    const markup = chart({ ...plain, kind, series: [series('a', [0, null]), series('b', [])] }).toString()
    t.match(markup, /<p class="scale">nothing<\/p>/)
    t.match(markup, /series a<span class="soft">none</)
    t.notMatch(markup, /NaN|Infinity|class="line/)
  }
})

await t.test('parts of a whole, side by side', async (t) => {
  const markup = bar('label', [{ name: 'good', value: 75, colour: 'good' }, { name: 'none', value: 0, colour: 'bad' }, {
    name: 'bad',
    value: 25,
    colour: 'bad'
  }]).toString()
  t.match(shapes(markup, 'rect').slice(1), [{ class: 'fill-good', x: 0, width: 450 }, { class: 'fill-bad', x: 450, width: 150 }])
  t.match(markup, /<title>good 75 %<\/title>.*<title>bad 25 %<\/title>/)
  t.equal(shapes(bar('label', []).toString(), 'rect').length, 1, 'of nothing only the ground')
  t.match(shapes(bar('label', [{ name: 'a', value: 1, colour: 'bad' }, { name: 'b', value: 99_999, colour: 'good' }]).toString(), 'rect')[1], { width: 2 })
})
