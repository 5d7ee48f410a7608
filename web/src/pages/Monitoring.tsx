export default function Monitoring() { return <p>Monitoring</p>; }
