export default function Routing() { return <p>Routing</p>; }
