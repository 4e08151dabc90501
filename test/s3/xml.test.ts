import t from 'tap'
import fc from 'fast-check'
import { S3Error } from '../../src/errors.ts'
import { parseErrorXml, renderError } from '../../src/s3/error-document.ts'
import { childText, escapeXml, parseXml, renderXml, rewriteXml, textOf, upstreamDocument } from '../../src/s3/xml.ts'
import type { XmlElement, XmlNode } from '../../src/s3/xml.ts'
import { errorCode } from '../support/error-code.ts'

const client = { maxBytes: 100_000, fault: 'MalformedXML' } as const

function parse(text: string): ReturnType<typeof parseXml> {
  return parseXml(Buffer.from(text), client)
}

/** Any text that can be an S3 key: all of Unicode but NUL, halves of surrogate pairs left out. */
const anyText = fc.string({ unit: 'binary', maxLength: 60 }).filter((s) => !s.includes('\0') && s.isWellFormed())
const name = fc.stringMatching(/^[A-Za-z][A-Za-z0-9-]{0,8}$/)

const { node: anyNode } = fc.letrec<{ node: XmlNode }>((tie) => ({
  node: fc.tuple(name, fc.oneof({ maxDepth: 4, withCrossShrink: true }, anyText, fc.array(tie('node'), { minLength: 1, maxLength: 4 })))
}))

function treeOf(document: ReturnType<typeof parseXml>, element: XmlElement): XmlNode {
  return [element.name, element.children.length > 0 ? element.children.map((c) => treeOf(document, c)) : textOf(document, element)]
}

await t.test('what is written is what is read', (t) => {
  fc.assert(
    fc.property(anyNode, (node) => {
      for (const namespace of [null, undefined]) {
        const document = parseXml(renderXml(node, namespace), client)
        if (JSON.stringify(treeOf(document, document.root)) !== JSON.stringify(node)) throw new Error(JSON.stringify(treeOf(document, document.root)))
      }
    }),
    { numRuns: 500 }
  )
  t.equal(renderXml(['A', [['B', ' '], ['C', '']]], null).toString(), '<?xml version="1.0" encoding="UTF-8"?>\n<A><B> </B><C></C></A>')
  t.match(renderXml(['A', 'x']).toString(), '<A xmlns="http://s3.amazonaws.com/doc/2006-03-01/">x</A>')
  t.end()
})

await t.test('every character survives, alone and among others', (t) => {
  const codes = [...Array.from({ length: 0x2ff }, (_, i) => i + 1), 0x2028, 0xd7ff, 0xe000, 0xfeff, 0xfffd, 0xfffe, 0xffff, 0x10000, 0x10ffff]
  for (const code of codes) {
    const text = `${String.fromCodePoint(code)}a${String.fromCodePoint(code)}`
    const document = parseXml(renderXml(['K', text]), client)
    if (textOf(document, document.root) !== text) t.fail(`U+${code.toString(16)}`)
  }
  t.equal(escapeXml('<a href="&">\u0001\r\n'), '&lt;a href=&quot;&amp;&quot;&gt;&#x1;&#xD;&#xA;')
  t.end()
})

await t.test('documents as clients write them', (t) => {
  const text = (xml: string): string => {
    const document = parse(xml)
    return childText(document, document.root, 'K') ?? 'none'
  }
  t.equal(text('<A><K>a&amp;b&#233;&#xe9;&apos;</K></A>'), 'a&béé\'')
  t.equal(text('<?xml version="1.0"?><!-- c --><A>\n <K>  </K>\n</A>\n'), '  ', 'a key of white space stays')
  t.equal(text('\ufeff<A><K>b</K></A>'), 'b')
  t.equal(text('<A xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><K/></A>'), '')
  t.equal(text('<s3:A xmlns:s3="x"><s3:K>p</s3:K></s3:A>'), 'p')
  t.equal(text('<A><K><![CDATA[a&b]]> c<!-- & --></K></A>'), 'a&b c')
  t.equal(text('<A><K>a\r\nb\rc</K></A>'), 'a\nb\nc', 'line ends are one (XML 1.0 2.11)')
  t.equal(text('<A><L>a</L></A>'), 'none')
  t.end()
})

await t.test('malformed documents', (t) => {
  const bombs = [
    '<!DOCTYPE a><A/>',
    '<!DOCTYPE a [<!ENTITY x "y">]><A>&x;</A>',
    '<A>&x;</A>',
    '<A>&constructor;</A>',
    '<A>&toString;</A>',
    '<A>&nbsp;</A>',
    '<A>&;</A>',
    '<A>&</A>',
    '<A>&amp</A>',
    '<A>&#;</A>',
    '<A>&#12345678;</A>',
    '<A>&#xzz;</A>',
    '<A',
    '<A>',
    '</A>',
    '<A></B>',
    '<A><B></A></B>',
    '<A/><B/>',
    '<A/>text',
    'text',
    '',
    ' ',
    '<A b=c/>',
    '<A><B<C/></A>',
    '<A>&#x1;',
    '<A&#x41;/>',
    '<?xml version="1.0"?>',
    '{"a":1}',
    '<'.repeat(1000)
  ]
  for (const text of bombs) t.equal(errorCode(() => parse(text)), 'MalformedXML', text.slice(0, 40))
  for (const text of ['<A>&#0;</A>', '<A>&#xD800;</A>', '<A>&#x110000;</A>']) {
    t.equal(
      errorCode(() => {
        const d = parse(text)
        textOf(d, d.root)
      }),
      'MalformedXML',
      text
    )
  }
  t.equal(errorCode(() => parse('<A>'.repeat(13) + '</A>'.repeat(13))), 'MalformedXML', 'depth')
  t.equal(errorCode(() => parse('<A>'.repeat(12) + '</A>'.repeat(12))), 'ok')
  t.equal(errorCode(() => parseXml(Buffer.from([0x3c, 0x41, 0x3e, 0xff, 0x3c, 0x2f, 0x41, 0x3e]), client)), 'MalformedXML', 'not UTF-8')
  t.equal(errorCode(() => parse(`<A>${'a'.repeat(100_000)}</A>`)), 'MaxMessageLengthExceeded')
  t.equal(errorCode(() => parseXml(Buffer.from(`<A>${'<B/>'.repeat(120_000)}</A>`), upstreamDocument)), 'SealgateBadUpstream', 'too many elements')
  t.equal(
    errorCode(() => {
      const d = parse('<A><K>1</K><K>2</K></A>')
      childText(d, d.root, 'K')
    }),
    'MalformedXML',
    'twice'
  )
  t.end()
})

await t.test('an editor that does nothing changes no byte', (t) => {
  const spelled = fc.tuple(anyNode, fc.constantFrom('', '\ufeff', '<?xml version="1.0"?>\r\n', '<!-- x -->'), fc.constantFrom('', '\n', '<!-- y -->'))
  fc.assert(
    fc.property(spelled, ([node, head, foot]) => {
      const body = renderXml(node).toString().replace(/^.*\n/, '').replaceAll('&#xD;', '&#13;').replaceAll('></', '>\n<![CDATA[]]></')
      const bytes = Buffer.from(head + body + foot)
      const visit = (element: XmlElement, act: (element: XmlElement) => void): void => {
        act(element)
        for (const child of element.children) visit(child, act)
      }
      const same = rewriteXml(bytes, (editor, document) => {
        visit(document.root, (element) => {
          if (element.children.length === 0) editor.setText(element, textOf(document, element))
        })
      })
      if (!same.equals(bytes)) throw new Error(same.toString())
    }),
    { numRuns: 300 }
  )
  t.end()
})

await t.test('an edit changes only its element', (t) => {
  fc.assert(
    fc.property(fc.array(fc.tuple(anyText, anyText), { minLength: 1, maxLength: 8 }), anyText, fc.nat(), (rows, text, pick) => {
      const chosen = pick % rows.length
      const bytes = renderXml(['L', rows.map(([a, b]): XmlNode => ['R', [['A', a], ['B', b]]])])
      const edited = rewriteXml(bytes, (editor, { root }) => {
        editor.setText(root.children[chosen]!.children[1]!, text)
      })
      const expected = renderXml(['L', rows.map(([a, b], i): XmlNode => ['R', [['A', a], ['B', i === chosen ? text : b]]])])
      if (!edited.equals(expected)) throw new Error(edited.toString())
      const removed = rewriteXml(bytes, (editor, { root }) => {
        editor.remove(root.children[chosen]!)
      })
      if (!removed.equals(renderXml(['L', rows.filter((_, i) => i !== chosen).map(([a, b]): XmlNode => ['R', [['A', a], ['B', b]]])]))) {
        throw new Error(removed.toString())
      }
    }),
    { numRuns: 200 }
  )
  t.end()
})

await t.test('edits of empty elements, of parents, and inside what was removed', (t) => {
  const edit = (xml: string, act: Parameters<typeof rewriteXml>[1]): string => rewriteXml(Buffer.from(xml), act).toString()
  t.equal(
    edit('<A><B /></A>', (e, { root }) => {
      e.setText(root.children[0]!, 'x<')
    }),
    '<A><B>x&lt;</B></A>'
  )
  t.equal(
    edit('<A><s:B c="1"/></A>', (e, { root }) => {
      e.append(root.children[0]!, ['C', '1'])
    }),
    '<A><s:B c="1"><C>1</C></s:B></A>'
  )
  t.equal(
    edit('<A xmlns="x" />', (e, { root }) => {
      for (const name of ['B', 'C', 'D']) e.append(root, [name, '1'])
    }),
    '<A xmlns="x"><B>1</B><C>1</C><D>1</D></A>',
    'regression: an empty tag takes more than one child'
  )
  t.equal(
    edit('<A><B></B></A>', (e, { root }) => {
      e.append(root, ['C', '1'])
      e.append(root, ['D', '2'])
    }),
    '<A><B></B><C>1</C><D>2</D></A>'
  )
  t.equal(
    edit('<A><B><C>1</C></B><D/></A>', (e, { root }) => {
      e.setText(root.children[0]!.children[0]!, '2')
      e.remove(root.children[0]!)
    }),
    '<A><D/></A>'
  )
  t.equal(
    edit('<A>&#65;😀<B>1</B>ä</A>', (e, { root }) => {
      e.setText(root.children[0]!, 'ö')
    }),
    '<A>&#65;😀<B>ö</B>ä</A>'
  )
  t.end()
})

await t.test('error documents', (t) => {
  const error = new S3Error('InvalidRange', { message: 'no & never', fields: { RangeRequested: 'bytes=9-', ActualObjectSize: '3' } })
  const xml = renderError(error, { resource: '/b/<k>', requestId: 'R', hostId: 'H' })
  t.equal(
    xml.toString(),
    '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>InvalidRange</Code><Message>no &amp; never</Message>'
      + '<RangeRequested>bytes=9-</RangeRequested><ActualObjectSize>3</ActualObjectSize>'
      + '<Resource>/b/&lt;k&gt;</Resource><RequestId>R</RequestId><HostId>H</HostId></Error>'
  )
  t.strictSame(parseErrorXml(xml), { code: 'InvalidRange', message: 'no & never', fields: { RangeRequested: 'bytes=9-', ActualObjectSize: '3' } })
  t.strictSame(parseErrorXml(Buffer.from('<Error><Code>X</Code></Error>')), { code: 'X', message: '', fields: {} })
  const long = (length: number): string => `${'a'.repeat(4095)}😀${'a'.repeat(length)}`
  const bounded = parseErrorXml(renderError(
    new S3Error('AccessDenied', {
      message: long(95_000),
      fields: Object.fromEntries(
        Array.from({ length: 40 }, (_, i) => [`F${i}`, long(i)])
      )
    }),
    { resource: `/${'k'.repeat(60_000)}`, requestId: 'R', hostId: 'H' }
  ))
  t.equal(bounded?.message, `${'a'.repeat(4095)}... (95002 more characters)`, 'cut between characters')
  t.equal(Object.keys(bounded?.fields ?? {}).length, 5)
  for (
    const text of [
      '',
      '<html><body>502</body></html>',
      '<Error/>',
      '<Error><Code>1',
      'Not found',
      '<CopyObjectResult><Code>1</Code></CopyObjectResult>',
      '<!DOCTYPE x><Error><Code>X</Code></Error>',
      '<Error><Code>1</Code><Code>2</Code></Error>'
    ]
  ) {
    t.equal(parseErrorXml(Buffer.from(text)), null, text)
  }
  t.equal(parseErrorXml(Buffer.from('   \n<Error><Code>SlowDown</Code></Error>'))?.code, 'SlowDown', 'after white space that kept the client waiting')
  t.end()
})
