import t from 'tap'
import { Html, html } from '../../src/page/html.ts'

await t.test('every value is escaped, unless it was made here', async (t) => {
  const hostile = '</td><script>alert("1")</script>\'&amp;`'
  const harmless = '&#60;/td&#62;&#60;script&#62;alert(&#34;1&#34;)&#60;/script&#62;&#39;&#38;amp;`'
  t.equal(html`<td title="${hostile}">${hostile}</td>`.toString(), `<td title="${harmless}">${harmless}</td>`)
  t.equal(html`<ul>${['<b>', 'c'].map((name) => html`<li>${name}</li>`)}</ul>`.toString(), '<ul><li>&#60;b&#62;</li><li>c</li></ul>')
  t.equal(html`${null}${0}${''}${new Html('<br>')}${[null, html`<i>`]}`.toString(), '0<br><i>')
})

await t.test('what cannot be seen, and what turns the direction of a text, is shown', async (t) => {
  t.equal(
    html`${'a\u202egnp.exe\u0000\u0007\r\n\u200b\u2066\ufeff\u0085'}`.toString(),
    'a\\u202egnp.exe\\u0000\\u0007\\u000d\\u000a\\u200b\\u2066\\ufeff\\u0085'
  )
  t.equal(html`${'half \ud800 and whole \u{1f512} é 名'}`.toString(), 'half \\ud800 and whole \u{1f512} é 名')
})
