// The mistakes that kill an encrypting proxy, and what V8 makes outlive its request, as lint rules. Reasons: docs/decisions/0002-lint-bans.md
// and docs/decisions/0014-garbage-that-outlives-its-request.md.

/** A rule with one message, reported for every node that one of the visitors returns true for. */
function ban(message, visitors) {
  return {
    create: (context) => Object.fromEntries(Object.entries(visitors).map(([type, matches]) => [type, (node) => {
      if (matches(node)) context.report({ node, message })
    }]))
  }
}

const isFunction = (node) => node.type === 'FunctionExpression' || node.type === 'ArrowFunctionExpression'
const calls = (name) => (node) => node.callee.type === 'Identifier' && node.callee.name === name

export default {
  meta: { name: 'sealgate' },
  rules: {
    'no-pipe': ban('.pipe( leaks the other side when one side goes away: use pipeline.', {
      CallExpression: ({ callee }) => callee.type === 'MemberExpression' && callee.property.name === 'pipe'
    }),
    'no-fetch': ban('fetch( follows redirects and decompresses: use the pools of src/upstream.', { CallExpression: calls('fetch') }),
    'explicit-tag-length': ban('Without { authTagLength: 16 } Node accepts tags of 4 bytes.', {
      CallExpression: (node) => (calls('createCipheriv')(node) || calls('createDecipheriv')(node)) && node.arguments.length < 4
    }),
    'no-assigned-function-literal': ban('A function literal assigned straight to a property is allocated in the old generation: give it a name first.', {
      AssignmentExpression: ({ left, right }) => left.type === 'MemberExpression' && isFunction(right)
    }),
    'no-literal-accessor': ban('An accessor in an object literal makes a hidden class of its own for every object, in the old generation: write a class.', {
      Property: ({ kind }) => kind === 'get' || kind === 'set'
    }),
    'no-joined-headers': ban('Node joins and drops repeated headers: authentication reads HttpRequest.headers made from rawHeaders.', {
      MemberExpression: ({ property, object }) => property.name === 'headers' && object.type === 'MemberExpression' && object.property.name === 'raw'
    })
  }
}
