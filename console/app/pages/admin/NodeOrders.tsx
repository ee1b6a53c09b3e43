import { Alert, Button, Text } from '@mantine/core';
import { useDrainNode, useRemoveNode } from '../../api/deployment';
import { may } from '../../api/permissions';
import { useMe } from '../../api/queries';
import type { Node } from '../../api/types';
import { ProblemNote } from '../../ui/ProblemNote';
import { useConfirm } from '../../ui/useConfirm';
import { isEmpty, whatIsLeft, whatRemovalDoes } from './drain';

/** Drain, then remove: what an administrator can ask of a node, and how far a drain is. */
export function NodeOrders({ node, onGone }: { node: Node; onGone: () => void }) {
  const me = useMe().data ?? null;
  // A Web App node takes no orders: as long as it answers, it serves.
  if (node.role === 'web') {
    if (!may(me, 'nodes:delete')) return null;
    if (node.state === 'unreachable') return <Remove node={node} onGone={onGone} />;
    return (
      <Text size="sm" c="dimmed">
        To take a Web App node away, stop it on its machine. When it is unreachable, it can be removed here.
      </Text>
    );
  }
  return <Orders node={node} onGone={onGone} />;
}

function Orders({ node, onGone }: { node: Node; onGone: () => void }) {
  const me = useMe().data ?? null;
  const drain = useDrainNode();
  const { ask, dialog } = useConfirm();
  const draining = node.state === 'draining';
  return (
    <>
      {draining && (
        <Alert role="status" color={isEmpty(node) ? 'teal' : 'yellow'} variant="light" title={isEmpty(node) ? 'Drained' : 'Draining'}>
          {isEmpty(node)
            ? 'Nothing is on it any more: it can be stopped, upgraded or removed.'
            : `It takes nothing new. Still on it: ${whatIsLeft(node)}.`}
        </Alert>
      )}
      {drain.isError && <ProblemNote error={drain.error} />}
      {may(me, 'nodes:modify') && (
        <Button
          variant="default"
          loading={drain.isPending}
          onClick={() =>
            draining
              ? drain.mutate({ id: node.id, drain: false })
              : ask({
                  title: `Drain ${node.name}?`,
                  text: 'Nothing new comes to it; what runs on it goes on. The viewers of a proxy move to another one. Undrain takes it back.',
                  action: 'Drain',
                  onConfirm: () => drain.mutate({ id: node.id, drain: true }),
                })
          }
        >
          {draining ? 'Undrain' : 'Drain'}
        </Button>
      )}
      {may(me, 'nodes:delete') && <Remove node={node} onGone={onGone} />}
      {dialog}
    </>
  );
}

/** Drain, then delete: asked again until nothing is on it any more. One that does not answer goes at once. */
function Remove({ node, onGone }: { node: Node; onGone: () => void }) {
  const remove = useRemoveNode();
  const { ask, dialog } = useConfirm();
  const left = remove.data ?? null;
  // The page hears of what ends before anybody asks again.
  const still = left === null || node.state === 'draining' ? node : { ...node, ...left };
  const send = () => remove.mutate(node.id, { onSuccess: (removal) => (removal === null ? onGone() : undefined) });
  const { text, action } = whatRemovalDoes(node);
  return (
    <>
      {left && !isEmpty(still) && (
        <Text size="sm" role="status">
          It is removed when you look again and nothing is on it.
          {node.state !== 'draining' && ` Still there: ${whatIsLeft(still)}.`}
        </Text>
      )}
      {remove.isError && <ProblemNote error={remove.error} />}
      <Button
        variant="light"
        color="red"
        loading={remove.isPending}
        onClick={() => (left ? send() : ask({ title: `Remove ${node.name}?`, text, action, onConfirm: send }))}
      >
        {left && !isEmpty(still) ? 'Look again and remove' : 'Remove'}
      </Button>
      {dialog}
    </>
  );
}
